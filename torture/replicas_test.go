package torture

import (
	"database/sql"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/pgtest"
)

var eventsFlag = flag.Int("events", 6, "how much happens to the replicas, each kind as often as any other")

// fleet is several replicas with one ledger in a PostgreSQL of their own.
type fleet struct {
	*proof
	db     *pgtest.Server
	sql    *sql.DB
	cables map[*daemon]*cable
	up     []*daemon
	all    []*daemon
	passed []passing

	strikes int
	points  map[string]int // where they were cut off or frozen in what they wrote
	cuts    int            // those that were cut off in a claim
	held    int            // the claims among them that their own process gave up as its lease ended
}

// passing is a budget that changed hands.
type passing struct {
	why      string
	in, most time.Duration
}

// TestReplicas lets replicas be killed, stopped, frozen for longer than their lease and thawed, be
// cut off from the database, and lose their lease before its time, and has the database restarted
// under them.
func TestReplicas(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	kinds := f.kinds()
	for i := range *eventsFlag {
		if i%len(kinds) == 0 {
			f.rand.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		}
		f.happen(kinds[i%len(kinds)])
	}
	f.calmDown()
}

func newFleet(t *testing.T) *fleet {
	db, err := pgtest.Start()
	require.NoError(t, err)
	t.Cleanup(db.Remove)
	f := &fleet{proof: newProof(t, *eventsFlag+10, postgresLedger(db.URL())), db: db, cables: map[*daemon]*cable{}, points: map[string]int{}}
	f.sql, err = sql.Open("pgx", db.URL())
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.sql.Close() })
	f.settings.lease = ttl.String()
	f.settings.layout = together
	f.spare = 2 * concurrency // of one that was frozen, and of one that was cut off
	for range 3 {             // all at once, where there is no ledger yet
		f.launch()
	}
	for _, d := range f.up {
		f.ready(d)
	}
	var made int
	require.NoError(t, f.sql.QueryRow(`SELECT count(*) FROM actions WHERE what = 'create ledger'`).Scan(&made))
	if made != 1 {
		f.broken("the making of a ledger is on record once", fmt.Sprintf("it is %d times", made), nil)
	}
	_, err = f.sql.Exec(chronicle)
	require.NoError(t, err)
	f.reigns = f.reigned
	for range 6 {
		f.w.grow()
	}
	return f
}

func (f *fleet) start() { f.ready(f.launch()) }

func (f *fleet) launch() *daemon {
	f.file = filepath.Join(f.t.TempDir(), fmt.Sprintf("replica-%d.yaml", len(f.all)))
	c := newCable(f.t, f.db.Address())
	f.settings.store = strings.Replace(f.ledger.url, f.db.Address(), c.listener.Addr().String(), 1)
	d := f.proof.launch()
	f.cables[d] = c
	f.up, f.all = append(f.up, d), append(f.all, d)
	return d
}

func (f *fleet) ready(d *daemon) {
	if err := d.ready(); err != nil {
		f.broken("a replica starts", err.Error(), nil)
	}
}

// happen lets one thing happen to the one that drives while it is at work, and sees that the work
// goes on.
func (f *fleet) happen(event func(*daemon)) {
	f.f.cycles++
	for f.w.tasks() < 60 && f.rand.IntN(4) > 0 {
		f.w.grow()
	}
	f.waitFor("nobody drove", time.Now(), ttl+5*time.Second, nil)
	f.p.await(f.up[0], moment{"retry", arrived}, 1+f.rand.IntN(3), 3*time.Second)
	if driver := f.driver(); driver != nil {
		event(driver)
	}
	e := f.evidence(f.ledger.read)
	f.judge(e, always, nil)
	f.w.clear(e.ledger)
}

func (f *fleet) lose(d *daemon) {
	f.up = slices.DeleteFunc(f.up, func(o *daemon) bool { return o == d })
}

// driver gives the process that holds the lease, nil if none does.
func (f *fleet) driver() *daemon {
	var holder string
	var expires int64
	err := f.sql.QueryRow(`SELECT holder, expires_at FROM leases WHERE expires_at > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint`).Scan(&holder, &expires)
	if d := f.named(holder); err == nil && d != nil && slices.Contains(f.up, d) {
		return d
	}
	return nil
}

// waitFor waits until somebody else than d drives, and notes how long that took.
func (f *fleet) waitFor(why string, since time.Time, most time.Duration, d *daemon) {
	patience := most + 10*time.Second
	if !long() { // on a machine that has other things to do: it is only said how long it took
		patience = time.Minute
	}
	for time.Since(since) < patience {
		if now := f.driver(); now != nil && now != d {
			in := time.Since(since)
			f.passed = append(f.passed, passing{why, in, most})
			if in > most && long() {
				f.broken("another replica drives in time", fmt.Sprintf("%s: it took %s", why, in), d)
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.broken("another replica drives in time", why+": nobody does", d)
}

// calmDown ends all, lets a last one run until all has settled, and judges for good: those that were
// there may wait for a minute, for answers that they did not get.
func (f *fleet) calmDown() {
	f.p.calm.Store(true)
	begun := time.Now()
	for _, d := range f.up {
		d.stop(f.proof)
	}
	f.up = nil
	f.start()
	for time.Since(begun) < 3*time.Minute {
		if e := f.evidence(f.ledger.read).withWaits(f.young()); len(e.stuck()) == 0 {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	f.f.rest = time.Since(begun)
	f.up[0].stop(f.proof)
	e := f.evidence(f.ledger.read).withWaits(f.young())
	f.judge(e, append(slices.Clone(always), atRest...), f.up[0])
	f.f.end(e)
	f.f.lines = append(f.hands(), f.f.lines...)
	f.f.violations = len(f.found)
	f.t.Log("\n" + f.f.text())
}
