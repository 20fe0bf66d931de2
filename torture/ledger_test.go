package torture

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// ledger is where the rows are, and how they are read without retryd's own code.
type ledger struct {
	kind      string
	url       string // as store.url has it
	driver    string
	source    string
	file      string // of SQLite
	isolation sql.IsolationLevel
	skew      time.Duration // of its clock against the platform's, at most
}

func sqliteLedger(folder string) ledger {
	file := filepath.Join(folder, "retryd.db")
	return ledger{kind: "SQLite", url: "sqlite:" + file, driver: "sqlite", source: "file:" + file + "?mode=ro&_pragma=busy_timeout(10000)", file: file}
}

// row is a row of targets.
type row struct {
	key
	lastN, counted, forgiven int
	state, outcome           string
	closedN                  int
}

// attempt is a row of attempts. Times are zero where there is none.
type attempt struct {
	key
	n                                int
	state                            string
	claimed, sendBy, answered, ended time.Time
	moved                            bool // read as in motion after the answer
}

func (a attempt) open() bool {
	return a.state == "claimed" || a.state == "accepted" || a.state == "unknown"
}

func (a attempt) counted() bool { return a.state != "released" }

// rows are what the ledger says at one moment.
type rows struct {
	targets  []row
	attempts []attempt // of a target in the order of their numbers
}

// read gives all rows while somebody may write.
func (l ledger) read() (rows, error) { return readFrom(l.driver, l.source, l.isolation) }

// readDead gives all rows where nobody writes.
func (l ledger) readDead() (r rows, err error) {
	err = l.copied(func(source string) error {
		r, err = readFrom(l.driver, source, l.isolation)
		return err
	})
	return r, err
}

// copied calls f with a source to read from where nobody writes. SQLite's files are copied for it:
// to open them would repair them, which is what the next start has to be able to do.
func (l ledger) copied(f func(source string) error) error {
	if l.file == "" {
		return f(l.source)
	}
	folder, err := os.MkdirTemp("", "retryd-torture-copy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(l.file + suffix)
		if errors.Is(err, fs.ErrNotExist) && suffix != "" {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, "copy.db"+suffix), data, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return f("file:" + filepath.Join(folder, "copy.db"))
}

func readFrom(driver, source string, isolation sql.IsolationLevel) (r rows, err error) {
	db, err := sql.Open(driver, source)
	if err != nil {
		return rows{}, err
	}
	defer db.Close()
	ctx := context.Background()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: isolation, ReadOnly: true}) // one moment for both tables
	if err != nil {
		return rows{}, err
	}
	defer tx.Rollback()
	err = each(ctx, tx, func(scan func(...any) error) error {
		var t row
		err := scan(&t.task, &t.device, &t.lastN, &t.counted, &t.forgiven, &t.state, &t.outcome, &t.closedN)
		r.targets = append(r.targets, t)
		return err
	}, `SELECT task_id, device_id, last_n, counted, forgiven_n, state, closed_outcome, closed_n FROM targets ORDER BY task_id, device_id`)
	if err != nil {
		return rows{}, err
	}
	err = each(ctx, tx, func(scan func(...any) error) error {
		var a attempt
		var claimed, sendBy, answered, ended int64
		err := scan(&a.task, &a.device, &a.n, &a.state, &claimed, &sendBy, &answered, &ended, &a.moved)
		a.claimed, a.sendBy, a.answered, a.ended = at(claimed), at(sendBy), at(answered), at(ended)
		r.attempts = append(r.attempts, a)
		return err
	}, `SELECT task_id, device_id, n, state, claimed_at, send_by, answered_at, settled_at, motion_seen FROM attempts ORDER BY task_id, device_id, n`)
	return r, err
}

// await waits until SQLite has written n times from now on, or the program has ended.
func (l ledger) await(d *daemon, n int, wait time.Duration) {
	written := func() (at time.Time, size int64) {
		if info, err := os.Stat(l.file + "-wal"); err == nil {
			return info.ModTime(), info.Size()
		}
		return at, 0
	}
	at, size := written()
	for deadline := time.Now().Add(wait); n > 0 && time.Now().Before(deadline) && !d.within(50*time.Microsecond); {
		if nowAt, nowSize := written(); nowSize != size || !nowAt.Equal(at) {
			at, size = nowAt, nowSize
			n--
		}
	}
}

func each(ctx context.Context, tx *sql.Tx, f func(scan func(...any) error) error, query string) error {
	found, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		if err := f(found.Scan); err != nil {
			return err
		}
	}
	return found.Err()
}

// at gives a time as the ledger has it, in microseconds.
func at(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros)
}
