package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	_ "modernc.org/sqlite" // the ledger's
)

// witness looks into the ledger when a retry call arrives: the attempt of each target has to be
// there, committed, and claimed. It is not part of what is timed.
type witness struct {
	path string

	mu               sync.Mutex
	db               *sql.DB
	durable, missing int
}

func (w *witness) look(r *http.Request) {
	if w == nil || r.Method != http.MethodPost {
		return
	}
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var call struct {
		Targets []string `json:"targets"`
	}
	if err != nil || json.Unmarshal(body, &call) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	parts := strings.Split(r.URL.Path, "/")
	for _, device := range call.Targets {
		if w.claimed(r.Context(), parts[len(parts)-2], device) {
			w.durable++
		} else {
			w.missing++
		}
	}
}

func (w *witness) claimed(ctx context.Context, task, device string) bool {
	if w.db == nil { // there was no ledger before
		db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: w.path, RawQuery: "mode=ro&_pragma=busy_timeout(5000)"}).String())
		if err != nil {
			return false
		}
		w.db = db
	}
	var n int
	err := w.db.QueryRowContext(ctx, `SELECT count(*) FROM attempts WHERE task_id = ? AND device_id = ? AND state = 'claimed'`, task, device).Scan(&n)
	return err == nil && n == 1
}

func (w *witness) counts() (durable, undurable int) {
	if w == nil {
		return 0, 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.durable, w.missing
}
