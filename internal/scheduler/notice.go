package scheduler

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// stands says how the connection stands: in its metric, and in the ledger, by which people are
// told. reason is empty where it is up; err is that of the call that failed, if one did.
func (c *connection) stands(ctx context.Context, reason string, err error) {
	if c.dry != nil {
		return
	}
	c.o.Metrics.SetConnection(c.name, reason)
	row := store.ConnectionRow{Identity: c.identity, Name: c.name, Reason: reason}
	switch e := iotdaclient.AsError(err); {
	case e != nil:
		row.Detail, row.Remedy, row.Until = iotda.Clip(whatFailed(e)+c.lastWords(ctx, e), 500), e.Remedy(), e.Until()
	case err != nil:
		row.Detail = iotda.Clip(err.Error(), 500)
	case reason != "":
		row.Detail = c.trouble()
	}
	if _, err := c.ledger().SetConnection(ctx, row); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrFenced) {
		c.log.Warn("how the connection stands is not in the ledger", zap.Error(err))
	}
}

// lastWords gives what the platform said last of a connection that calls nothing after refusals, where its
// error does not say so: another process heard it, and it is in the ledger.
func (c *connection) lastWords(ctx context.Context, e *iotdaclient.Error) string {
	if e.Until().IsZero() || strings.Contains(e.Message, iotdaclient.RefusedWith) || e.Class == iotda.ClassAuth {
		return ""
	}
	known, err := c.o.Store.Connections(ctx)
	if err != nil { // it is said without
		return ""
	}
	before := known[c.identity]
	if before.Reason == string(iotda.ClassAuth) {
		_, words, _ := strings.Cut(before.Detail, ": ") // without the call's name
		return iotdaclient.RefusedWith + words
	}
	if _, words, ok := strings.Cut(before.Detail, iotdaclient.RefusedWith); ok {
		return iotdaclient.RefusedWith + words
	}
	return ""
}

// whatFailed says what an error says without what differs from one call to the next, and without
// what to do about it.
func whatFailed(e *iotdaclient.Error) string {
	text := strings.Replace(e.Error(), " (request id "+e.RequestID+")", "", 1)
	return strings.TrimSuffix(strings.TrimPrefix(text, fmt.Sprintf("connection %q: ", e.Connection)), "; "+e.Remedy())
}

// awaitApproval writes, once, that people have to approve a task which is closed for that, or would
// be once its window opens; targets is how many wait for it.
func (t *taskSweep) awaitApproval(ctx context.Context, v policy.Verdict, targets int) error {
	awaits := v.Reason == policy.AwaitingApproval || v.Reason == policy.OutsideWindow && t.p.Mode == policy.ModeApprove
	if !awaits || t.unapproved == "" || targets == 0 || t.dry != nil {
		return nil
	}
	_, err := t.ledger().AwaitApproval(ctx, t.scope(), t.unapproved)
	return err
}
