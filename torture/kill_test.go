package torture

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestKilledAtAnyMoment kills the program with kill -9 again and again, on SQLite.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	newProof(t, *cyclesFlag*2+10, sqliteLedger(t.TempDir())).killed(*cyclesFlag)
}

// killed kills the program n times, whatever ledger it has.
func (p *proof) killed(n int) {
	d := p.launch() // so that there is a ledger
	require.NoError(p.t, d.ready())
	d.kill()
	for range 4 {
		p.w.grow()
	}
	for p.f.kills < n {
		p.cycle(long() || p.f.kills < n*2/3)
	}
	p.rest(3*time.Minute, p.young())
}

// young leaves out, in a short run, attempts that a killed process may have sent a moment ago: they
// may be under way for another half minute.
func (p *proof) young() func(attempt) bool {
	if long() {
		return nil
	}
	return func(a attempt) bool {
		return a.state == "unknown" && time.Now().Before(a.answered.Add(settle+2*time.Second))
	}
}

// cycle starts the program, kills it, and looks at both records.
func (p *proof) cycle(more bool) {
	p.f.cycles++
	if more && p.w.tasks() < 120 && p.rand.IntN(10) < 9 {
		p.w.grow()
	}
	if p.rand.IntN(30) == 0 {
		p.w.stopOne()
	}
	if p.rand.IntN(8) == 0 {
		p.settings.edit(p.rand)
		p.f.edits++
	}
	d := p.launch()
	how := p.killSomehow(d)
	e := p.evidence(p.ledger.readDead)
	p.judge(e, always, d)
	if how != "" {
		p.f.kill(how, e)
	} else {
		p.f.stopped++
		for _, a := range e.ledger.claimed() {
			if a.claimed.After(d.started.Add(e.skew)) { // and not by one that was killed, whose lease it did not wait for
				p.broken("a graceful end leaves no claim", a.name(), d)
			}
		}
	}
	p.w.clear(e.ledger)
}

// killSomehow kills the program and says when; empty = it ended by itself.
func (p *proof) killSomehow(d *daemon) (how string) {
	defer d.kill()
	if p.rand.IntN(12) == 0 {
		d.within(between(p.rand, 0, 80*time.Millisecond))
		return "before it was ready"
	}
	if err := d.ready(); err != nil {
		p.broken("it starts after any kill", err.Error(), nil)
		return "before it was ready"
	}
	if p.rand.IntN(12) == 0 {
		p.reload(d)
	}
	if p.settings.lease != "" && p.rand.IntN(10) > 0 { // the one before has it for another while
		p.p.await(d, moment{"list", arrived}, 1, 3*time.Second)
	}
	const patience = 1200 * time.Millisecond // a policy is due every second
	switch n := p.rand.IntN(20); {
	case n < 2:
		d.within(between(p.rand, 0, 400*time.Millisecond))
		return "at a random time"
	case n < 6 && p.ledger.file != "":
		p.p.await(d, moment{"fresh", answered}, 1+p.rand.IntN(2), patience)
		p.ledger.await(d, 1+p.rand.IntN(5), 100*time.Millisecond)
		return "as the ledger was written"
	case n < 9:
		p.p.await(d, moment{"retry", arrived}, 1+p.rand.IntN(3), patience)
		return "as a retry arrived"
	case n < 11:
		p.p.await(d, moment{"retry", applied}, 1+p.rand.IntN(3), patience)
		return "before its answer"
	case n < 14:
		p.p.await(d, moment{"retry", answered}, 1+p.rand.IntN(3), patience)
		d.within(between(p.rand, 0, 1500*time.Microsecond))
		return "after its answer"
	case n < 18:
		p.p.await(d, moment{"fresh", answered}, 1+p.rand.IntN(2), patience)
		d.within(between(p.rand, 0, 60*time.Millisecond))
		return "after a read"
	}
	return p.stopThenKill(d)
}

// stopThenKill is a graceful stop that somebody has no patience with.
func (p *proof) stopThenKill(d *daemon) string {
	defer p.p.hold.Store(0)
	patience := between(p.rand, 0, 100*time.Millisecond)
	if long() && p.rand.IntN(3) == 0 { // calls in flight get 5 seconds
		p.p.hold.Store(int64(between(p.rand, 100*time.Millisecond, 5500*time.Millisecond)))
		patience = between(p.rand, 0, 5500*time.Millisecond)
	}
	p.p.await(d, moment{"retry", arrived}, 1, time.Second)
	d.signal(syscall.SIGTERM)
	if d.within(patience) {
		p.ended(d)
		return ""
	}
	return "while it stopped"
}

// reload edits the configuration under a running process.
func (p *proof) reload(d *daemon) {
	p.settings.edit(p.rand)
	p.write()
	d.signal(syscall.SIGHUP)
	p.f.edits++
	p.f.reloads++
}

// stop ends the program as systemd does.
func (d *daemon) stop(p *proof) {
	d.signal(syscall.SIGTERM)
	if !d.within(stopsIn()) {
		p.broken("it stops in time", "it does not", d)
	}
	d.kill()
	p.ended(d)
}

// ended looks at how it ended by itself.
func (p *proof) ended(d *daemon) {
	if <-d.ended; d.err != nil {
		p.broken("it ends well when it is told to", d.err.Error(), d)
	}
}

// await waits until the n-th call from now on has come so far, or the program has ended.
func (p *platform) await(d *daemon, m moment, n int, wait time.Duration) {
	come := make(chan struct{}, 100)
	watch := func(now moment) {
		if now == m {
			select {
			case come <- struct{}{}:
			default:
			}
		}
	}
	p.watch.Store(&watch)
	defer p.watch.Store(nil)
	for end := time.After(wait); n > 0; n-- {
		select {
		case <-come:
		case <-d.ended:
			return
		case <-end:
			return
		}
	}
}

func (r rows) claimed() (left []attempt) {
	for _, a := range r.attempts {
		if a.state == "claimed" {
			left = append(left, a)
		}
	}
	return left
}
