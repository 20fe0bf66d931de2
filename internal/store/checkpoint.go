package store

import (
	"context"
	"sync"
)

// checkpoints copies SQLite's write-ahead log into the file while others write: a commit that does so
// keeps all that wait for it waiting until up to 16 MB are copied and on the disk.
type checkpoints struct {
	db   *db        // of its own
	turn *group     // of whoever writes
	mu   sync.Mutex // held while it copies

	closed  bool
	commits int // since the last time
	every   int // so many commits fill about logPart
	before  int // pages of the log the last time
}

// In pages of 4 KB.
const (
	logPart = 4000 // is copied at once
	logLong = 4000 // is to be begun anew
	logRest = 64   // is no more than what others wrote meanwhile
)

// Between two copies are at least, and at most, so many commits.
const (
	fewestCommits = 4
	mostCommits   = 32
)

func newCheckpoints(db *db, turn *group) *checkpoints {
	db.SetMaxOpenConns(1)
	return &checkpoints{db: db, turn: turn, every: fewestCommits}
}

// committed has the log copied where it may have become long enough. Nobody waits for that but Close.
func (c *checkpoints) committed() {
	if c == nil || !c.mu.TryLock() { // it is at it
		return
	}
	if c.commits++; c.closed || c.commits < c.every {
		c.mu.Unlock()
		return
	}
	go func() {
		defer c.mu.Unlock()
		c.copy()
	}()
}

// copy copies the log, and has it begun anew where it is long: the next writer does that if nothing is left
// to copy, so for the last few pages nobody writes. Whatever is wrong with the file, commits say so.
func (c *checkpoints) copy() {
	log, left, ok := c.pass()
	for range 3 {
		if !ok || left <= logRest {
			break
		}
		log, left, ok = c.pass()
	}
	if ok && log >= logLong && left <= 4*logRest {
		c.turn.turn <- struct{}{}
		_, left, ok = c.pass()
		<-c.turn.turn
	}
	pages := log - c.before
	if c.before = log; pages <= 0 { // it was begun anew
		pages = max(log, 1)
	}
	if c.every = min(max(c.every*logPart/pages, fewestCommits), mostCommits); !ok || left > 4*logRest { // a reader is in the way
		c.every = fewestCommits
	}
	c.commits = 0
}

// pass copies what is in the log by now, and gives how many pages that has and how many are left.
func (c *checkpoints) pass() (log, left int, ok bool) {
	var busy, done int
	err := c.db.QueryRowContext(context.Background(), `PRAGMA wal_checkpoint(PASSIVE)`).Scan(&busy, &log, &done)
	return log, log - done, err == nil && busy == 0 && log >= 0
}

func (c *checkpoints) close() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.db.Close()
}
