package web

import (
	"context"
	"net/http"
	"slices"
	"time"

	"retryd/internal/policy"
	"retryd/internal/store"
)

// pause answers POST /api/v1/pauses.
func (s *server) pause(r *asked) (any, bool, error) {
	var body NewPause
	if err := r.into(&body); err != nil {
		return nil, false, err
	}
	if err := r.because("pause", body.Why); err != nil {
		return nil, false, err
	}
	pauses, err := s.scope(r.Context(), body.Scope)
	if err != nil {
		return nil, false, err
	}
	if err := oneOf("policy", body.Policy, namesOf(s.Config().Policies)); err != nil {
		return nil, false, err
	}
	for i := range pauses {
		if body.Until == nil {
			continue
		}
		if pauses[i].Until = *body.Until; !body.Until.After(s.now()) {
			return nil, false, refusal(http.StatusBadRequest, "the pause would be over already: it is %s", s.now().UTC().Format(time.RFC3339))
		}
	}
	unknown, err := s.unknown(r.Context(), pauses)
	if err != nil {
		return nil, false, err
	}
	done := store.Paused{Pauses: pauses}
	if body.DryRun {
		done.Accepted, done.Which, err = s.Store.OpenIn(r.Context(), pauses...)
	} else {
		done, err = s.Store.PauseNow(r.Context(), r.action, pauses...)
	}
	if err != nil {
		return nil, false, err
	}
	answer := Paused{Items: mapped(done.Pauses, pauseOf), Accepted: done.Accepted, Which: []string{}, Unknown: unknown, DryRun: body.DryRun}
	for _, t := range done.Which {
		answer.Which = append(answer.Which, t.DeviceID+" in task "+t.TaskID)
	}
	return answer, done.Again, nil
}

// scope gives what a scope stands for in the ledger: one pause, or one for each device.
func (s *server) scope(ctx context.Context, sc Scope) ([]store.Pause, error) {
	named := 0
	for _, is := range []bool{sc.All, sc.Connection != "", sc.Policy != "", sc.Task != ""} {
		if is {
			named++
		}
	}
	switch {
	case named != 1:
		return nil, refusal(http.StatusBadRequest, "name what is meant by exactly one of all, connection, policy and task")
	case len(sc.Devices) > 0 && sc.Task == "":
		return nil, refusal(http.StatusBadRequest, "devices are named with the task that they are in")
	case sc.Project != "" && sc.Task == "":
		return nil, refusal(http.StatusBadRequest, "a project is named with the task that is in it")
	case sc.All:
		return []store.Pause{{Scope: store.PauseAll}}, nil
	case sc.Connection != "":
		var names []string
		for _, c := range s.Config().Connections {
			if c.Name == sc.Connection {
				return []store.Pause{{Scope: store.PauseConnection, Connection: c.Name, Identity: c.Identity()}}, nil
			}
			names = append(names, c.Name)
		}
		return nil, thereIs("connection", sc.Connection, names)
	case sc.Policy != "":
		return []store.Pause{{Scope: store.PausePolicy, Policy: sc.Policy}}, nil
	}
	if err := few(sc.Devices); err != nil {
		return nil, err
	}
	t, err := s.oneTaskIn(ctx, sc.Task, sc.Project)
	if err != nil {
		return nil, err
	}
	if len(sc.Devices) == 0 {
		return []store.Pause{{Scope: store.PauseTask, ProjectID: t.ProjectID, TaskID: t.ID}}, nil
	}
	var pauses []store.Pause
	for _, device := range sc.Devices {
		if device == "" || device == policy.WholeTask {
			return nil, refusal(http.StatusBadRequest, "a device without a name is none")
		}
		pauses = append(pauses, store.Pause{Scope: store.PauseDevice, ProjectID: t.ProjectID, TaskID: t.ID, DeviceID: device})
	}
	return pauses, nil
}

// unknown gives the devices that the ledger does not know in their task. They may be there all the
// same: a target is known from its first attempt on.
func (s *server) unknown(ctx context.Context, pauses []store.Pause) ([]string, error) {
	strange := []string{}
	var devices []string
	for _, p := range pauses {
		if p.Scope == store.PauseDevice {
			devices = append(devices, p.DeviceID)
		}
	}
	if len(devices) == 0 {
		return strange, nil
	}
	known, err := s.Store.Records(ctx, pauses[0].ProjectID, pauses[0].TaskID, devices)
	if err != nil {
		return nil, err
	}
	for _, device := range devices {
		if known[device].N == 0 && !known[device].Closed {
			strange = append(strange, device)
		}
	}
	return strange, nil
}

// resume answers DELETE /api/v1/pauses: it ends the pauses and halts of exactly one scope.
func (s *server) resume(r *asked) (any, bool, error) {
	q := r.query
	of := Scope{All: q.yes("all"), Connection: q.text("connection"), Policy: q.text("policy"), Task: q.text("task"), Project: q.text("project"), Devices: q.texts("device")}
	why, dry := q.text("why"), q.yes("dry_run")
	if err := q.check(); err != nil {
		return nil, false, err
	}
	if err := r.because("resume", why); err != nil {
		return nil, false, err
	}
	scopes, err := s.scope(r.Context(), of)
	if err != nil {
		return nil, false, err
	}
	if dry {
		ended, err := s.Store.WouldResume(r.Context(), scopes...)
		return resumed(ended, true), false, err
	}
	ended, err := s.Store.Resume(r.Context(), r.action, scopes...)
	return resumed(ended, false), ended.Again, err
}

// endPause answers DELETE /api/v1/pauses/{id}.
func (s *server) endPause(r *asked) (any, bool, error) {
	return s.end(r, s.Store.EndPause, func(now held, id int64) store.Resumed {
		return store.Resumed{Pauses: slices.DeleteFunc(now.pauses, func(p store.Pause) bool { return p.ID != id })}
	})
}

// endHalt answers DELETE /api/v1/halts/{id}.
func (s *server) endHalt(r *asked) (any, bool, error) {
	return s.end(r, s.Store.EndHalt, func(now held, id int64) store.Resumed {
		return store.Resumed{Halts: slices.DeleteFunc(now.halts, func(h store.Halt) bool { return h.ID != id })}
	})
}

// end ends what would gives; in a dry run it says that only.
func (s *server) end(r *asked, end func(context.Context, store.Action, int64) (store.Resumed, error), would func(held, int64) store.Resumed) (any, bool, error) {
	id, dry, err := r.one("resume")
	if err != nil {
		return nil, false, err
	}
	if !dry {
		ended, err := end(r.Context(), r.action, id)
		return resumed(ended, false), ended.Again, err
	}
	now, err := s.held(r.Context())
	if err != nil {
		return nil, false, err
	}
	ended := would(now, id)
	if len(ended.Pauses)+len(ended.Halts) == 0 {
		return nil, false, store.ErrNoPause
	}
	return resumed(ended, true), false, nil
}

func resumed(ended store.Resumed, dry bool) Resumed {
	return Resumed{Pauses: mapped(ended.Pauses, pauseOf), Halts: mapped(ended.Halts, haltOf), DryRun: dry}
}
