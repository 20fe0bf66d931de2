package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"retryd/internal/config"
	"retryd/internal/web"
)

// configuration serves what is in force: what decides, where each value comes from, and no secret.
func (r *reloader) configuration() http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		r.one.Lock()
		c := r.current
		r.one.Unlock()
		web.Answers(w.Header(), "application/json")
		_ = writeJSON(w, c.Running(r.h.store.Where())) // a reader who has gone misses nothing
	}
}

// running asks the daemon which configuration is in force.
func (d asker) running(a *app) (config.Running, error) {
	text, err := d.ask(a, http.MethodGet, "/api/v1/configuration", time.Minute)
	if notThere(err) {
		return config.Running{}, errors.New("what answers is retryd demo, which has no configuration of its own, or an older retryd, which does not tell it: restart the daemon with this version, or give --url its address")
	}
	if err != nil {
		return config.Running{}, err
	}
	var running config.Running
	if err := json.Unmarshal([]byte(text), &running); err != nil {
		return config.Running{}, fmt.Errorf("what answers is not the daemon: %w", err)
	}
	return running, nil
}
