package main

import (
	"errors"
	"os"
	"path/filepath"

	"retryd/internal/store"
)

// rememberRefusals has refused credentials written down where there is no ledger yet: whoever
// tries one wrong key after the other with `retryd plan` would lock it otherwise. Where even
// that cannot be, they are remembered for as long as the command runs.
func (h *house) rememberRefusals(a *app) {
	folder, err := os.UserCacheDir()
	if err != nil {
		return
	}
	folder = filepath.Join(folder, "retryd")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return
	}
	path := filepath.Join(folder, "refused-keys.db")
	s, err := store.Open(a.ctx, store.Options{Path: path, Create: true})
	if errors.Is(err, store.ErrLocked) { // by another plan
		s, err = store.Open(a.ctx, store.Options{Path: path, Join: true})
	}
	if err == nil {
		h.refusals = s
		h.guards.Keep(s)
	}
}
