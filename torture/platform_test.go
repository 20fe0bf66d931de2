package torture

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"retryd/internal/emulator"
)

const (
	project = "0123456789abcdef0123456789abcdef"
	region  = "cn-north-4"
	secret  = "secret-of-every-key"
)

// moment is how far a call has come at the platform.
type moment struct {
	op    string // retry, show or list; fresh is a show of a task whose targets are due and were never retried
	stage string
}

// post is a retry call.
type post struct {
	at  time.Time // when it came, before any delay on its way
	key string    // access key: each start has its own
}

// The stages of a call.
const (
	arrived  = "arrived"  // nothing has come of it
	applied  = "applied"  // it has had its effect, and the answer has not left
	answered = "answered" // the answer has left
)

// platform is the emulator behind HTTP: slow, unreliable, and watched.
type platform struct {
	*emulator.Emulator
	server *httptest.Server
	calm   atomic.Bool                  // nothing goes wrong any more
	hold   atomic.Int64                 // how long answers to retries take, nanoseconds; 0 = by chance
	watch  atomic.Pointer[func(moment)] // told of each moment; nil = nobody

	mu       sync.Mutex
	rand     *rand.Rand
	arrivals []time.Time // of all calls
	posts    []post
	fresh    map[string]bool // ids of tasks whose targets are due and were never retried
}

func newPlatform(t testing.TB, seed uint64, keys map[string]string) *platform {
	p := &platform{
		Emulator: emulator.New(emulator.Options{ProjectID: project, Region: region, Keys: keys, Signing: "derived", Seed: seed}),
		rand:     rand.New(rand.NewPCG(seed, 1)),
		fresh:    map[string]bool{},
	}
	p.SetFault(p.fault)
	p.server = httptest.NewServer(p)
	t.Cleanup(p.server.Close)
	return p
}

// ServeHTTP answers after a while. A call whose caller has died is carried out all the same, as
// a real platform does with what has reached it.
func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op, before, after := p.arrive(r)
	p.tell(moment{op, arrived})
	time.Sleep(before)
	p.Emulator.ServeHTTP(&slow{ResponseWriter: w, wait: func() {
		p.tell(moment{op, applied})
		time.Sleep(after)
	}}, r)
	p.tell(moment{op, answered})
}

func (p *platform) tell(m moment) {
	if f := p.watch.Load(); f != nil {
		(*f)(m)
	}
}

var signedBy = regexp.MustCompile(`Credential=([^/,]+)`)

// arrive notes a call, and gives how long it is on its way, and how long its answer is. Now and
// then a retry is on its way for so long that a process which was killed meanwhile has a successor
// when it lands.
func (p *platform) arrive(r *http.Request) (op string, before, after time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.arrivals = append(p.arrivals, now)
	switch task := path.Base(strings.TrimSuffix(r.URL.Path, "/retry")); {
	case r.Method == http.MethodPost:
		op = "retry"
		delete(p.fresh, task)
		if by := signedBy.FindStringSubmatch(r.Header.Get("Authorization")); by != nil {
			p.posts = append(p.posts, post{now, by[1]})
		}
	case task == "batchtasks":
		op = "list"
	case p.fresh[task]:
		op = "fresh"
	default:
		op = "show"
	}
	if p.calm.Load() {
		return op, time.Millisecond, 0
	}
	if op != "retry" {
		return op, between(p.rand, time.Millisecond, 4*time.Millisecond), 0
	}
	before, after = between(p.rand, 0, 12*time.Millisecond), between(p.rand, 0, 12*time.Millisecond)
	if p.rand.IntN(25) == 0 {
		before = between(p.rand, 200*time.Millisecond, 800*time.Millisecond)
	}
	if hold := p.hold.Load(); hold > 0 {
		after = time.Duration(hold)
	}
	return op, before, after
}

// faulty is how many retry calls there are to one that meets a fault: one of which nobody knows
// what it did keeps a process from sending more than one target until the next read, and two in a
// row for a minute, which is more than most processes here have.
const faulty = 8

// What a retry call may meet beside a good answer. A refusal of the whole task is not among it:
// two in a row leave a task alone until it changes, which some here never do.
var retryFaults = []emulator.Fault{
	emulator.FaultLostReply, emulator.FaultLostReply, emulator.FaultLostReply, emulator.FaultCutBody, emulator.FaultEmpty, emulator.FaultMissingRow,
	emulator.FaultDoubleRow, emulator.FaultWrongTypes, emulator.FaultUnknownStatus, emulator.FaultExtraRow, emulator.FaultCut, emulator.FaultHTML,
	emulator.Fault503HTML, emulator.Fault502, emulator.FaultRedirect, emulator.FaultThrottled,
}

var readFaults = []emulator.Fault{emulator.Fault502, emulator.FaultCut, emulator.FaultCutBody, emulator.FaultHTML, emulator.FaultWrongTypes}

func (p *platform) fault(c emulator.Call) emulator.Fault {
	if p.calm.Load() {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.Op != "RetryBatchTask" {
		if p.rand.IntN(150) == 0 {
			return pick(p.rand, readFaults)
		}
		return ""
	}
	if p.rand.IntN(faulty) > 0 {
		return ""
	}
	return pick(p.rand, retryFaults)
}

// isFresh notes that a task has targets that are due.
func (p *platform) isFresh(task string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fresh[task] = true
}

// came gives when each call came, and by whom those that retry.
func (p *platform) came() ([]time.Time, []post) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.arrivals), slices.Clone(p.posts)
}

// slow is a writer whose first byte comes late.
type slow struct {
	http.ResponseWriter
	wait func()
}

// WriteHeader waits first.
func (s *slow) WriteHeader(status int) {
	s.wait()
	s.ResponseWriter.WriteHeader(status)
}

func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64(to-from)))
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }
