package main

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// logEvery is how soon an action of another process is in the log.
const logEvery = 2 * time.Second

// actionLog logs what people do, whichever process they do it with: a command beside the daemon, or
// another replica, writes it into the ledger.
type actionLog struct {
	*house
	last  int64 // action that was logged
	known bool  // which that is
}

// logActions looks regularly, and wakes whoever does what people ask for.
func (h *house) logActions(ctx context.Context, wake func()) error {
	l := &actionLog{house: h}
	for {
		if l.look(ctx) {
			wake()
		}
		select {
		case <-ctx.Done(): // what was done just now is in the log too
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			l.look(ctx)
			return nil
		case <-time.After(logEvery):
		}
	}
}

// look logs what is new, and tells whether anything is. Where the ledger cannot be read it is tried
// again: what is wrong is said where it is needed.
func (l *actionLog) look(ctx context.Context) (news bool) {
	if !l.known {
		last, err := l.store.LastAction(ctx)
		l.last, l.known = last, err == nil
		return false
	}
	actions, err := l.store.ActionsAfter(ctx, l.last)
	if err != nil {
		return false
	}
	for _, a := range actions {
		l.last = a.ID
		fields := []zap.Field{
			zap.String("who", a.Who), zap.String("from", a.Source), zap.String("what", a.What), zap.String("subject", a.Subject),
			zap.String("why", a.Why), zap.Int64("action", a.ID),
		}
		for name, value := range map[string]string{"policy": a.Policy, "connection": a.Connection, "task": a.TaskID, "device": a.DeviceID} {
			if value != "" {
				fields = append(fields, zap.String(name, value))
			}
		}
		l.log.Info("somebody acts", fields...)
	}
	return len(actions) > 0
}
