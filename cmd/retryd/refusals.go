package main

import (
	"errors"
	"os"
	"path/filepath"

	"retryd/internal/store"
)

// openRefusals opens where refused credentials are written down while there is no ledger, nil
// where that cannot be: whoever tries one wrong key after the other with `retryd plan` would
// lock it otherwise.
func (a *app) openRefusals(create bool) *store.Store {
	folder, err := os.UserCacheDir()
	if err != nil {
		return nil
	}
	path := filepath.Join(folder, "retryd", "refused-keys.db")
	if create {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil
		}
	}
	s, err := store.Open(a.ctx, store.Options{Path: path, Create: create})
	if errors.Is(err, store.ErrLocked) { // by another plan
		s, err = store.Open(a.ctx, store.Options{Path: path, Join: true})
	}
	if err != nil {
		return nil
	}
	return s
}

// rememberRefusals has refused credentials written down without a ledger.
func (h *house) rememberRefusals(a *app) {
	if h.refusals = a.openRefusals(true); h.refusals != nil {
		h.guards.Keep(h.refusals)
	}
}

// adoptRefusals has a new ledger know of those that were refused before it was made.
func (h *house) adoptRefusals(a *app) error {
	if h.demo { // its key is for an emulator of its own
		return nil
	}
	s := a.openRefusals(false)
	if s == nil {
		return nil
	}
	return errors.Join(h.store.AdoptAuth(a.ctx, s), s.Close())
}
