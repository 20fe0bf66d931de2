package scheduler

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
)

// wholeTurn is the whole of connection.turn: whoever holds it is alone with the connection.
const wholeTurn = 1 << 20

// wavesAhead is how many waves may be read and not yet retried for each 16 calls in flight: one
// that is retried, one that waits to be, and one that is read.
const wavesAhead = 3

// hold waits for the turn of a wave of so many pages: first come, first served. How much of the turn
// it takes is what reading and retrying it takes of the 15 seconds in which all that is read has
// to be on its way, as an older read proves nothing.
func (c *connection) hold(ctx context.Context, pages int) (release func(), err error) {
	ahead := min(c.client.PagesAhead(), iotdaclient.MaxWavePages*wavesAhead*(1+(c.client.Concurrency()-1)/16))
	share := int64(min(wholeTurn, wholeTurn*pages/ahead))
	if err := c.turn.Acquire(ctx, share); err != nil {
		return nil, err
	}
	return func() { c.turn.Release(share) }, nil
}

// status reads, decides and retries the sub-tasks of one status.
func (t *taskSweep) status(ctx context.Context, status iotda.SubtaskStatus) error {
	from := iotdaclient.From{Rows: t.task.Progress.Of(status)}
	for rereads := 0; ; rereads++ {
		unfinished, err := t.ahead(ctx, status, from)
		if !errors.Is(err, errStale) || rereads == maxRereads {
			return err
		}
		from = unfinished
	}
}

// ahead reads a list wave by wave from a place on: while a wave is retried, the next one is read.
// With an error comes the place from which on not all has been done.
func (t *taskSweep) ahead(ctx context.Context, status iotda.SubtaskStatus, from iotdaclient.From) (unfinished iotdaclient.From, err error) {
	waves := &waves{}
	defer waves.drop()
	sending, batches := errgroup.WithContext(ctx)
	for end := false; !end && err == nil; {
		here := from
		var p *part
		p, err = t.take(batches, t.client.WavePages(), func(pages int) (iotdaclient.Wave, error) {
			wave, err := t.client.Wave(batches, t.task.ID, iotdaclient.Query{Status: status}, here, pages)
			wave.Subtasks = t.hand.only(wave.Subtasks)
			return wave, err
		})
		if p == nil {
			break
		}
		waves.add(p, here)
		from, end = iotdaclient.From{Marker: p.wave.Next, Rows: p.wave.Left}, p.wave.End
		if t.inOrder() {
			err = p.finish(ctx, ctx)
			waves.count(nil)
			if err != nil {
				return here, err
			}
			continue
		}
		sending.Go(func() error {
			err := p.finish(ctx, batches)
			waves.count(err)
			return err
		})
	}
	if e := sending.Wait(); e != nil { // it is why reading ended
		err = waves.why(e)
	}
	if first, ok := waves.first(); ok {
		from = first
	}
	return from, err
}

// waves are those of a list that are under way or wait to be counted: one is counted when all before it
// are, as it is read again when one of those is.
type waves struct {
	mu     sync.Mutex
	list   []*part
	failed error // of the first that is not read again
}

func (w *waves) add(p *part, from iotdaclient.From) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p.from = from
	w.list = append(w.list, p)
}

// count counts those whose turn it is, once one has ended.
func (w *waves) count(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil && err != nil && !errors.Is(err, errStale) && !errors.Is(err, context.Canceled) {
		w.failed = err
	}
	for len(w.list) > 0 && w.list[0].isDone() {
		w.list[0].tally()
		w.list = w.list[1:]
	}
}

// why gives the error of all: where one failed for good, the others are not read again.
func (w *waves) why(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return cmp.Or(w.failed, err)
}

// first gives where the first one that has not been counted begins.
func (w *waves) first() (from iotdaclient.From, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.list) == 0 {
		return from, false
	}
	return w.list[0].from, true
}

// drop forgets those that are not counted.
func (w *waves) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.list {
		p.forget()
	}
	w.list = nil
}

// inOrder tells whether each wave has to be done with before the next is decided about.
func (t *taskSweep) inOrder() bool {
	return t.dry != nil || t.hand != nil || t.past.Mode(t.p) == policy.ModeObserve
}

// part is some of a task's sub-tasks with what is decided about them. It holds its turn until it
// is counted.
type part struct {
	*taskSweep
	wave    iotdaclient.Wave
	from    iotdaclient.From
	targets []target
	readAt  time.Time    // start of the oldest read that they were decided by
	through *reservation // of what limits have let through
	release func()

	mu      sync.Mutex
	done    bool
	counted []target
}

func (p *part) isDone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// take waits for its turn, reads and decides. Where the task has closed meanwhile, nothing comes of it.
func (t *taskSweep) take(ctx context.Context, pages int, read func(pages int) (iotdaclient.Wave, error)) (p *part, err error) {
	held := pages
	if t.hand != nil { // by the same limits as a sweep of the policy, which may be under way
		held = t.client.PagesAhead()
	}
	release, err := t.hold(ctx, held)
	if err != nil {
		return nil, err
	}
	defer func() {
		if p == nil {
			release()
		}
	}()
	wave, err := read(pages)
	if err != nil {
		return nil, err
	}
	if err := t.deciding.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer t.deciding.Release(1)
	if stale(wave.Begun) { // while others were decided about
		return nil, errStale
	}
	wave.Subtasks = t.hand.untried(wave.Subtasks)
	t.noteWave(wave)
	t.move(wave.Task)
	if closed, err := t.closed(ctx); closed || err != nil { // it has changed since the list was read
		return nil, err
	}
	targets, err := t.decide(ctx, wave)
	if err != nil {
		return nil, err
	}
	if err := t.giveUp(ctx, targets); err != nil {
		return nil, err
	}
	through := &reservation{of: t.pending, task: t.task.ID}
	if anyDue(targets) {
		if err := t.cap(ctx, targets, through); err != nil {
			return nil, err
		}
	}
	t.met(len(targets))
	return &part{taskSweep: t, wave: wave, targets: targets, readAt: t.decidedAsOf(wave.Begun), through: through, release: release}, nil
}

// finish retries what is due. ctx ends when another part of the task fails. With an error it is done only
// where nobody reads the part again.
func (p *part) finish(program, ctx context.Context) error {
	defer p.through.drop()
	err := p.send(program, ctx, p.targets, p.readAt, p.through)
	var shut *gateError
	if errors.As(err, &shut) { // what was not sent waits for the same reason; the task closes at its next wave
		for i := range p.targets {
			if p.targets[i].verdict.Reason == policy.Due && !p.targets[i].claimed {
				p.targets[i].verdict = shut.verdict
			}
		}
		err = nil
	}
	tried := p.hand.tries(p.targets)
	again := errors.Is(err, errStale) || err != nil && ctx.Err() != nil && program.Err() == nil
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.counted = p.targets; {
	case !again:
		p.done = true
	case p.hand != nil: // the others are read and counted again
		p.met(len(tried) - len(p.targets))
		p.counted, p.done = tried, true
	}
	return err
}

// tally counts what has become of it.
func (p *part) tally() {
	p.count(p.counted)
	p.o.Watch(Event{Kind: Read, Connection: p.name, Policy: p.p.Name, TaskID: p.task.ID, TaskName: p.task.Name, Rows: len(p.counted)})
	p.release()
}

// forget has it be as if it had not been read.
func (p *part) forget() {
	p.met(-len(p.targets))
	p.release()
}

// alone reads, decides and retries some of the task's sub-tasks, while nobody else uses the connection.
func (t *taskSweep) alone(ctx context.Context, read func() (iotdaclient.Wave, error)) error {
	p, err := t.take(ctx, t.client.PagesAhead(), func(int) (iotdaclient.Wave, error) { return read() })
	if p == nil {
		return err
	}
	err = p.finish(ctx, ctx)
	p.tally()
	return err
}

// move notes how the task stands now.
func (t *taskSweep) move(now iotda.Task) {
	t.books.Lock()
	defer t.books.Unlock()
	t.task.Status, t.task.Progress = now.Status, now.Progress
}

// now gives the task as it was read last, to whoever does not decide.
func (t *taskSweep) now() iotda.Task {
	t.books.Lock()
	defer t.books.Unlock()
	return t.task
}

// met notes how many of the task's sub-tasks have been decided about.
func (t *taskSweep) met(rows int) {
	t.books.Lock()
	defer t.books.Unlock()
	t.rows += rows
}
