package torture

import (
	"database/sql"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/pgtest"
)

var eventsFlag = flag.Int("events", 10, "how much happens to the replicas")

// fleet is several replicas with one ledger in a PostgreSQL of their own.
type fleet struct {
	*proof
	db     *pgtest.Server
	cables map[*daemon]*cable
	up     []*daemon
	all    []*daemon
	passed []passing
}

// passing is a budget that changed hands.
type passing struct {
	why string
	in  time.Duration
}

// TestReplicas lets replicas be killed, stopped, frozen for longer than their lease and thawed, and
// has the database restarted under them.
func TestReplicas(t *testing.T) {
	t.Parallel()
	db, err := pgtest.Start()
	require.NoError(t, err)
	t.Cleanup(db.Remove)
	f := &fleet{proof: newProof(t, *eventsFlag*2+20, postgresLedger(db.URL())), db: db, cables: map[*daemon]*cable{}}
	f.settings.lease = ttl.String()
	f.settings.layout = together
	f.spare = 2 * concurrency // of one that was frozen, and of one that was cut off
	for range 6 {
		f.w.grow()
	}
	for range 3 {
		f.start()
	}
	for range *eventsFlag {
		f.happen()
	}
	f.calmDown()
}

func (f *fleet) start() {
	f.file = filepath.Join(f.t.TempDir(), fmt.Sprintf("replica-%d.yaml", len(f.all)))
	c := newCable(f.t, f.db.Address())
	f.settings.store = strings.Replace(f.ledger.url, f.db.Address(), c.listener.Addr().String(), 1)
	d := f.launch()
	f.cables[d] = c
	f.up, f.all = append(f.up, d), append(f.all, d)
	if err := d.ready(); err != nil {
		f.broken("a replica starts", err.Error(), nil)
	}
}

// happen lets one thing happen, and sees that the work goes on.
func (f *fleet) happen() {
	for f.w.tasks() < 40 && f.rand.IntN(3) > 0 {
		f.w.grow()
	}
	f.p.await(f.up[0], moment{"retry", arrived}, 1+f.rand.IntN(3), 3*time.Second)
	driver := f.driver()
	switch n := f.rand.IntN(10); {
	case driver == nil: // the last one's lease has not ended yet
		f.waitFor("nobody drove", time.Now(), ttl+5*time.Second, nil)
	case n < 3:
		f.f.kill("a replica that drives", f.evidence(f.ledger.read))
		at := time.Now()
		f.lose(driver)
		driver.kill()
		f.waitFor("killed", at, ttl+5*time.Second, driver)
		f.start()
	case n < 5:
		f.lose(driver)
		driver.signal(syscall.SIGTERM)
		if !driver.within(10 * time.Second) {
			f.broken("it stops within 10 seconds", "it does not", driver)
		}
		at := time.Now()
		f.ended(driver)
		f.waitFor("stopped", at, 2*time.Second, driver)
		f.start()
	case n < 7:
		f.freeze(driver)
	case n < 9:
		f.cut(driver)
	default:
		f.restartDatabase()
	}
	e := f.evidence(f.ledger.read)
	f.judge(e, always, nil)
	f.w.clear(e.ledger)
}

// freeze stops a process for longer than its lease, in the middle of whatever it does.
func (f *fleet) freeze(d *daemon) {
	f.p.await(d, pick(f.rand, []moment{{"show", answered}, {"retry", arrived}, {"retry", answered}}), 1+f.rand.IntN(4), time.Second)
	d.within(between(f.rand, 0, 8*time.Millisecond))
	d.signal(syscall.SIGSTOP)
	at := time.Now()
	f.waitFor("frozen", at, ttl+5*time.Second+5*time.Second, d) // a transaction that it holds open ends after 5 s
	d.within(between(f.rand, 0, time.Second))
	d.signal(syscall.SIGCONT)
	f.f.stopped++
}

// cut cuts a process off from the database for longer than its lease, just as it begins to write.
func (f *fleet) cut(d *daemon) {
	c := f.cables[d]
	f.p.await(d, moment{"show", answered}, 1+f.rand.IntN(4), time.Second)
	c.arm()
	select {
	case <-c.struck:
	case <-time.After(2 * time.Second):
	}
	f.waitFor("cut off", time.Now(), ttl+5*time.Second+5*time.Second, d)
	d.within(between(f.rand, 0, time.Second))
	c.plug()
	f.f.stopped++
}

// restartDatabase ends it as a restart does, or as a crash.
func (f *fleet) restartDatabase() {
	require.NoError(f.t, f.db.Down(pick(f.rand, []string{"fast", "immediate"})))
	f.up[0].within(between(f.rand, 0, 2*time.Second))
	require.NoError(f.t, f.db.Up())
	f.waitFor("database restarted", time.Now(), ttl+10*time.Second, nil)
}

func (f *fleet) lose(d *daemon) {
	f.up = slices.DeleteFunc(f.up, func(o *daemon) bool { return o == d })
}

// driver gives the process that holds the lease.
func (f *fleet) driver() *daemon {
	holder, _ := f.lease()
	for _, d := range f.up {
		if strings.Contains(holder, fmt.Sprintf("-%d-", d.cmd.Process.Pid)) {
			return d
		}
	}
	return nil
}

// lease gives who holds it, and for how long.
func (f *fleet) lease() (holder string, left time.Duration) {
	db, err := sql.Open("pgx", f.ledger.source)
	require.NoError(f.t, err)
	defer db.Close()
	var micros int64
	err = db.QueryRow(`SELECT holder, expires_at - (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM leases`).Scan(&holder, &micros)
	if err != nil {
		return "", 0
	}
	return holder, time.Duration(micros) * time.Microsecond
}

// waitFor waits until somebody else than d drives, and notes how long that took.
func (f *fleet) waitFor(why string, since time.Time, most time.Duration, d *daemon) {
	for time.Since(since) < most+10*time.Second {
		holder, left := f.lease()
		if holder != "" && left > 0 && (d == nil || !strings.Contains(holder, fmt.Sprintf("-%d-", d.cmd.Process.Pid))) {
			in := time.Since(since)
			f.passed = append(f.passed, passing{why, in})
			if in > most {
				f.broken("another replica drives in time", fmt.Sprintf("%s: it took %s", why, in), d)
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.broken("another replica drives in time", why+": nobody does", d)
}

// calmDown lets all settle, and judges for good.
func (f *fleet) calmDown() {
	f.p.calm.Store(true)
	begun := time.Now()
	for time.Since(begun) < 3*time.Minute {
		if e := f.evidence(f.ledger.read).withWaits(f.young()); len(e.stuck()) == 0 {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	f.f.rest = time.Since(begun)
	for _, d := range f.up {
		d.stop(f.proof)
	}
	e := f.evidence(f.ledger.read).withWaits(f.young())
	f.judge(e, append(slices.Clone(always), atRest...), f.up[0])
	f.f.end(e)
	f.f.violations = len(f.found)
	f.t.Log("\n" + f.f.text() + f.handsText())
}

// handsText says how budgets changed hands, and what was refused to those that had lost theirs.
func (f *fleet) handsText() string {
	var b strings.Builder
	longest := map[string]time.Duration{}
	times := map[string]int{}
	for _, p := range f.passed {
		longest[p.why], times[p.why] = max(longest[p.why], p.in), times[p.why]+1
	}
	for _, why := range []string{"killed", "stopped", "frozen", "cut off", "database restarted"} {
		fmt.Fprintf(&b, "%-22s %3d times, driven by another after %s at most\n", why, times[why], longest[why].Round(time.Millisecond))
	}
	refused := map[string]int{}
	for _, d := range f.all {
		text := d.out.all()
		for what, words := range map[string]string{
			"claims": "a claim is refused: the lease has gone", "late answers": "late answers are not written", "renewals": "the budget is lost: another replica",
		} {
			refused[what] += strings.Count(text, words)
		}
	}
	fmt.Fprintf(&b, "refused to one who had lost its lease: %v\n", refused)
	return b.String()
}
