package notify

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"retryd/internal/store"
)

// What a try can come to, as it is counted.
const (
	Sent    = "sent"    // digests
	Failed  = "failed"  // tries to send one
	Dropped = "dropped" // notices that were too old
)

// Results lists them.
func Results() []string { return []string{Sent, Failed, Dropped} }

const (
	// grace is what a request in flight gets when the program stops, or its receiver goes.
	grace = 5 * time.Second
	// lookLeast and lookMost are how often a receiver's notices are looked for. A digest waits for
	// its batch from its first notice on, whenever that is seen.
	lookLeast, lookMost = time.Second, 10 * time.Second
)

// Options are what a Sender works with.
type Options struct {
	Setup
	Store     *store.Store
	Holder    string // this replica: of several, one at a time sends
	UserAgent string
	Log       *zap.Logger
	Count     func(receiver, result string, n int) // nil = nobody counts
	Transport http.RoundTripper                    // nil = the network
}

// Setup is what a configuration says: it can be replaced while the sender runs.
type Setup struct {
	ExternalURL string // that links begin with; empty = there are none
	Receivers   []Receiver
}

// Sender sends digests to receivers.
type Sender struct {
	o      Options
	client *http.Client

	mu      sync.Mutex // one change at a time
	setup   Setup
	running context.Context    // of Run; nil = it does not run
	workers map[string]*worker // by receiver
}

// worker is a goroutine that can be stopped.
type worker struct {
	receiver Receiver
	cancel   context.CancelFunc
	done     chan struct{}
}

// New makes a sender, and makes its receivers known to the ledger: they are told of what happens
// from then on.
func New(ctx context.Context, o Options) (*Sender, error) {
	if o.Count == nil {
		o.Count = func(string, string, int) {}
	}
	s := &Sender{o: o, client: newClient(o.Transport), workers: map[string]*worker{}}
	return s, s.Apply(ctx, o.Setup)
}

// Apply puts a setup in the place of the one before, or returns an error and leaves that as it is.
// Receivers that are the same go on undisturbed; what is just sent to others has 5 seconds.
func (s *Sender) Apply(ctx context.Context, setup Setup) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.o.Store.Subscribe(ctx, names(setup.Receivers)); err != nil {
		return err
	}
	links := setup.ExternalURL != s.setup.ExternalURL
	var outdated []*worker
	for _, w := range s.workers {
		if links || !slices.ContainsFunc(setup.Receivers, w.receiver.same) {
			outdated = append(outdated, w)
		}
	}
	s.stop(outdated)
	gone := slices.DeleteFunc(names(s.setup.Receivers), func(name string) bool { return slices.Contains(names(setup.Receivers), name) })
	s.setup = setup
	s.startMissing()                                         //nolint:contextcheck // they go on with Run, and not with who changes the setup
	if err := s.o.Store.Unsubscribe(ctx, gone); err != nil { // if one of the name comes back, it is told of what is young enough
		s.o.Log.Warn("receivers that are gone could not be forgotten", zap.Strings("receivers", gone), zap.Error(err))
	}
	return nil
}

func names(receivers []Receiver) []string {
	all := make([]string, len(receivers))
	for i, r := range receivers {
		all[i] = r.Name
	}
	return all
}

// Run sends digests until the context ends.
func (s *Sender) Run(ctx context.Context) error {
	s.mu.Lock()
	s.running = ctx
	s.startMissing() //nolint:contextcheck // it is that of s.running
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = nil
	var all []*worker
	for _, w := range s.workers {
		all = append(all, w)
	}
	s.stop(all)
	return nil
}

// startMissing starts what does not run yet. The caller holds s.mu.
func (s *Sender) startMissing() {
	if s.running == nil {
		return
	}
	for _, r := range s.setup.Receivers {
		if s.workers[r.Name] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(s.running)
		w := &worker{r, cancel, make(chan struct{})}
		s.workers[r.Name] = w
		task := &task{Sender: s, r: r, sub: r.subscription(s.o.Holder), external: s.setup.ExternalURL, log: s.o.Log.With(zap.String("receiver", r.Name))}
		go func() {
			defer close(w.done)
			task.follow(ctx)
		}()
	}
}

// stop ends workers and waits for them. The caller holds s.mu.
func (s *Sender) stop(workers []*worker) {
	for _, w := range workers {
		w.cancel()
	}
	for _, w := range workers {
		<-w.done
		delete(s.workers, w.receiver.Name)
	}
}

// task is one receiver that is told.
type task struct {
	*Sender
	r        Receiver
	sub      store.Subscription
	external string
	log      *zap.Logger
	broken   bool // the ledger, and said so
}

func (t *task) follow(ctx context.Context) {
	for ctx.Err() == nil {
		sleep(ctx, t.step(ctx))
	}
}

// step sends what is to be sent now, and gives how long to rest.
func (t *task) step(ctx context.Context) time.Duration {
	look := min(max(t.r.Batch, lookLeast), lookMost)
	d, dropped, next, err := t.o.Store.NextDigest(ctx, t.sub)
	if errors.Is(err, store.ErrNotSubscribed) { // another replica, with another configuration, has forgotten it
		err = t.o.Store.Subscribe(ctx, []string{t.r.Name})
	}
	if err != nil {
		if !t.broken && ctx.Err() == nil {
			t.log.Error("the ledger does not say what is to be told", zap.Error(err))
		}
		t.broken = true
		return look
	}
	t.broken = false
	if dropped > 0 {
		t.o.Count(t.r.Name, Dropped, dropped)
		t.log.Warn("notices are a day old and were not sent: they are dropped", zap.Int("notices", dropped))
	}
	switch {
	case d != nil:
		t.send(ctx, d)
		return 0
	case !next.IsZero():
		return min(max(next.Sub(t.o.Store.Now()), 10*time.Millisecond), time.Minute) // the clock may be set meanwhile
	}
	return look
}

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
