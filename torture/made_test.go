package torture

import (
	"database/sql"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rounds is how often a ledger is made or migrated, with several kills each time.
func rounds() int { return max(3, *cyclesFlag/20) }

// TestKilledWhileTheLedgerIsMade kills the first starts of a ledger.
func TestKilledWhileTheLedgerIsMade(t *testing.T) {
	t.Parallel()
	how := map[string]int{}
	for i := range rounds() {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			p := newProof(t, 10, sqliteLedger(t.TempDir()))
			p.w.grow()
			p.killEarly(how, func() bool { return p.ledger.size() > 0 })
			p.carryOn()
			p.saidOnce(how)
		})
	}
	t.Log("\n" + early(t, how))
}

// early says how far starts had come when they were killed.
func early(t *testing.T, how map[string]int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, SQLite, %d ledgers\n", t.Name(), rounds())
	for _, moment := range slices.Sorted(maps.Keys(how)) {
		fmt.Fprintf(&b, "killed %-33s%d\n", moment, how[moment])
	}
	return b.String()
}

// TestKilledDuringAMigration kills the first starts on a ledger of the schema before, in which
// targets have attempts already.
func TestKilledDuringAMigration(t *testing.T) {
	t.Parallel()
	how := map[string]int{}
	for i := range rounds() {
		t.Run(strconv.Itoa(i), func(t *testing.T) { migrateUnderFire(t, how) })
	}
	t.Log("\n" + early(t, how))
}

func migrateUnderFire(t *testing.T, how map[string]int) {
	p := newProof(t, 10, sqliteLedger(t.TempDir()))
	version := p.oldLedger()
	backedUp := fmt.Sprintf("%s.schema-%d.bak", p.ledger.file, version)
	p.killEarly(how, func() bool {
		_, err := os.Stat(backedUp)
		return err == nil
	})
	e := p.carryOn()
	for _, r := range e.ledger.targets {
		if s := e.subjects[r.key]; s.spent > r.counted {
			p.broken("a migration keeps counts", fmt.Sprintf("%v had %d counted attempts, and has %d", r.key, s.spent, r.counted), nil)
		}
	}
	backup, err := sql.Open("sqlite", "file:"+backedUp+"?mode=ro")
	require.NoError(t, err)
	defer backup.Close()
	var health string
	var targets int
	require.NoError(t, backup.QueryRow(`PRAGMA integrity_check`).Scan(&health))
	require.NoError(t, backup.QueryRow(`SELECT count(*) FROM targets`).Scan(&targets))
	require.Equal(t, "ok", health)
	require.Equal(t, 3, targets)
}

// killEarly kills some starts before they are ready, some time after the work has begun, and notes
// how far they had come.
func (p *proof) killEarly(how map[string]int, begun func() bool) {
	for range 1 + p.rand.IntN(4) {
		before := p.ledger.version()
		known, _ := p.ledger.announced()
		d := p.launch()
		if begun() { // by the start before
			d.within(between(p.rand, 0, 80*time.Millisecond))
		}
		for deadline := time.Now().Add(time.Second); !begun() && time.Now().Before(deadline); {
			d.within(100 * time.Microsecond)
		}
		d.within(between(p.rand, 0, 25*time.Millisecond))
		d.kill()
		p.greets(d, known)
		switch after := p.ledger.version(); {
		case after == "" && p.ledger.size() == 0:
			how["with an empty file"]++
		case after == "":
			how["before there was a schema"]++
		case after == before:
			how["with the schema as before, "+after]++
		default:
			how["after a step to schema "+after]++
		}
	}
}

// size gives the bytes of the ledger's file.
func (l ledger) size() int64 {
	info, err := os.Stat(l.file)
	if err != nil {
		return 0
	}
	return info.Size()
}

// version gives the schema that a copy of the dead ledger has, empty if it has none.
func (l ledger) version() (version string) {
	_ = l.copied(func(source string) error {
		db, err := sql.Open(l.driver, source)
		if err != nil {
			return err
		}
		defer db.Close()
		return db.QueryRow(`SELECT max(version_id) FROM goose_db_version`).Scan(&version)
	})
	return version
}

// carryOn starts the program once more, and waits until it works.
func (p *proof) carryOn() *evidence {
	p.p.calm.Store(true)
	known, _ := p.ledger.announced()
	d := p.launch()
	if err := d.ready(); err != nil {
		p.broken("it starts after any kill", err.Error(), nil)
		p.t.FailNow()
	}
	for begun := time.Now(); len(p.p.Retries()) == 0 && time.Since(begun) < time.Minute; {
		d.within(5 * time.Millisecond)
	}
	if len(p.p.Retries()) == 0 {
		p.broken("it goes on after any kill", "nothing was retried within a minute", d)
	}
	d.kill()
	p.greets(d, known)
	e := p.evidence(p.ledger.readDead)
	p.judge(e, always, d)
	return e
}
