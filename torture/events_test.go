package torture

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
)

// What may pass until another replica drives. A transaction that a frozen process or one without
// a connection holds open is ended by the database after 5 seconds.
const (
	afterKill   = ttl + 5*time.Second
	afterStop   = 2 * time.Second
	afterFreeze = ttl + 5*time.Second + 5*time.Second
)

// kinds are what happens to replicas. Each gets the one that drives.
func (f *fleet) kinds() []func(*daemon) {
	return []func(*daemon){f.kill, f.end, f.freeze, f.cut, f.rob, f.restart}
}

func (f *fleet) kill(d *daemon) {
	f.p.await(d, pick(f.rand, []moment{{"fresh", answered}, {"retry", arrived}, {"retry", applied}, {"retry", answered}}), 1, time.Second)
	f.lose(d)
	at := time.Now()
	d.kill()
	f.f.kill("a replica that drives", f.evidence(f.ledger.read))
	f.waitFor("killed", at, afterKill, d)
	f.start()
}

func (f *fleet) end(d *daemon) {
	f.lose(d)
	d.signal(syscall.SIGTERM)
	if !d.within(stopsIn()) {
		f.broken("it stops in time", "it does not", d)
	}
	at := time.Now()
	f.ended(d)
	f.waitFor("stopped", at, afterStop, d)
	f.f.stopped++
	f.start()
}

// freeze stops a process for longer than its lease: in the middle of what it writes to the
// database, or of whatever it does.
func (f *fleet) freeze(d *daemon) {
	c := f.cables[d]
	if f.rand.IntN(3) > 0 {
		f.strike(d)
	} else {
		f.p.await(d, pick(f.rand, []moment{{"fresh", answered}, {"retry", arrived}, {"retry", answered}}), 1+f.rand.IntN(4), time.Second)
		d.within(between(f.rand, 0, 8*time.Millisecond))
	}
	d.signal(syscall.SIGSTOP)
	f.waitFor("frozen", time.Now(), afterFreeze, d)
	c.plug() // what it had written arrives, and is answered, before it can see that its lease has ended
	d.within(between(f.rand, 20*time.Millisecond, time.Second))
	d.signal(syscall.SIGCONT)
}

// cut cuts a process off from the database for longer than its lease, in the middle of what it
// writes.
func (f *fleet) cut(d *daemon) {
	before := len(d.out.all())
	point := f.strike(d)
	f.waitFor("cut off", time.Now(), afterFreeze, d)
	d.within(between(f.rand, 0, time.Second))
	f.cables[d].plug()
	if point == inClaim || point == atCommit || point == afterCommit {
		d.within(100 * time.Millisecond)
		if f.cuts++; !strings.Contains(d.out.all()[before:], refusedClaim) {
			f.held++
		}
	}
}

// strike pulls the cable of a process at some point of a transaction, after a task was read that
// has something to retry, and says at which; empty = it has not come to it.
func (f *fleet) strike(d *daemon) string {
	c := f.cables[d]
	point := points[f.strikes%len(points)]
	f.strikes++
	f.w.grow()
	c.arm(point)
	select {
	case <-c.struck:
		f.points[point]++
		return point
	case <-time.After(4 * time.Second):
		c.pull()
		f.points[elsewhere]++
		return ""
	}
}

// rob takes the lease away before its time, as a database whose clock jumps does, or a machine
// whose clock stood still while it slept. It is the only way to a claim that only the ledger can
// refuse: otherwise the process knows by its own clock first.
func (f *fleet) rob(d *daemon) {
	c := f.cables[d]
	f.w.grow()
	f.p.await(d, moment{"fresh", answered}, 1, 2*time.Second)
	c.arm(atBegin)
	select {
	case <-c.struck:
	case <-time.After(time.Second):
	}
	_, err := f.sql.Exec(`UPDATE leases SET token = token + 1, holder = $1, expires_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $2`, thief, ttl.Microseconds())
	require.NoError(f.t, err)
	at := time.Now()
	c.plug()
	f.waitFor("robbed", at, afterKill, nil)
}

// restart ends the database as a restart does, or as a crash, and starts it again.
func (f *fleet) restart(*daemon) {
	require.NoError(f.t, f.db.Down(pick(f.rand, []string{"fast", "immediate"})))
	f.up[0].within(between(f.rand, 0, 2*time.Second))
	require.NoError(f.t, f.db.Up())
	f.waitFor("database restarted", time.Now(), ttl+10*time.Second, nil)
}

// What a replica writes when the ledger, or its own clock, keeps it from going on.
const (
	refusedClaim = "a claim is refused: the lease has gone"
	leaseEnds    = "the lease of the connection's budget is about to end"
)

// hands says how the budget changed hands, and what was refused to those that had lost theirs.
func (f *fleet) hands() (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, why := range []string{"killed", "stopped", "frozen", "cut off", "robbed", "database restarted"} {
		times, longest, most := 0, time.Duration(0), time.Duration(0)
		for _, p := range f.passed {
			if p.why == why {
				times, longest, most = times+1, max(longest, p.in), p.most
			}
		}
		if times > 0 {
			add("%-40s%d times; driven again after %s at most, of %s", why, times, longest.Round(time.Millisecond), most)
		}
	}
	for _, point := range append(points[:len(points):len(points)], elsewhere) {
		if n := f.points[point]; n > 0 {
			add("  cable pulled %-25s%d", point, n)
		}
	}
	count := func(words string) (n int) {
		for _, d := range f.all {
			n += strings.Count(d.out.all(), words)
		}
		return n
	}
	if long() && count(refusedClaim) == 0 {
		f.broken("the case was hit: a claim without a lease", "none was refused", nil)
	}
	add("refused by the ledger                   %d claims, %d late answers; %d renewals told that the budget is lost",
		count(refusedClaim), count("late answers are not written"), count("the budget is lost: another replica"))
	add("held back by its own clock              %d of %d claims that were cut off; %d times as the lease was about to end", f.held, f.cuts, count(leaseEnds))
	return lines
}
