package notify

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"retryd/internal/store"
)

// idOf gives the id of a digest. The time tells it from one of another ledger, or of this one after
// a backup of it was put in its place: their notices are numbered alike.
func idOf(r Receiver, d *store.Digest) string {
	return fmt.Sprintf("%s-%d-%d-%d", r.Name, d.First, d.Last, d.From.Unix())
}

// send sends a digest and writes what came of it.
func (t *task) send(ctx context.Context, d *store.Digest) {
	id := idOf(t.r, d)
	fields := []zap.Field{zap.String("digest", id), zap.Int("notices", d.Count()), zap.Int("failed_tries", d.Tries)}
	request, stop := longer(ctx)
	err := t.post(request, t.r, message{id: id, d: d, external: t.external, now: t.o.Store.Now()})
	stop()
	switch {
	case err == nil:
		t.log.Info("digest sent", fields...)
		t.write(ctx, func(ctx context.Context) error { return t.o.Store.DigestSent(ctx, t.sub, d) })
		t.o.Count(t.r.Name, Sent, 1)
		return
	case ctx.Err() != nil: // it was cut off: the next start, or the next configuration, sends it
		t.log.Info("digest not sent", append(fields, zap.Error(err))...)
		t.write(ctx, func(ctx context.Context) error { return t.o.Store.DigestFailed(ctx, t.sub, d, err.Error(), 0) })
		return
	}
	rest := restAfter(d.Tries, err)
	t.o.Count(t.r.Name, Failed, 1)
	t.log.Warn("digest not sent", append(fields, zap.Error(err), zap.Duration("again_in", rest.Round(time.Second)))...)
	t.write(ctx, func(ctx context.Context) error { return t.o.Store.DigestFailed(ctx, t.sub, d, err.Error(), rest) })
}

// write tries until the ledger takes it: what is not known to be sent would be sent again. When
// the program ends it has one more try.
func (t *task) write(ctx context.Context, f func(context.Context) error) {
	for said := false; ; said = true {
		last := ctx.Err() != nil
		now, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		err := f(now)
		cancel()
		if err == nil || last {
			return
		}
		if !said {
			t.log.Error("the ledger does not take what came of a digest: nothing further is sent until it does", zap.Error(err))
		}
		sleep(ctx, lookLeast)
	}
}

// longer gives a context that outlives ctx by the grace of a request in flight.
func longer(ctx context.Context) (context.Context, context.CancelFunc) {
	long, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		sleep(long, grace)
		cancel()
	})
	return long, func() { stop(); cancel() }
}
