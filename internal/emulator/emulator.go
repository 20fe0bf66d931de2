// Package emulator is IoTDA's batch-task API in memory: as strict as the platform is
// documented to be about signatures, limits, paging and states, and with faults on
// demand that a real platform shows once a year.
//
// It shares no code with retryd's client but the vocabulary, so that a mistake in one is
// not a mistake in both. Nothing runs in the background: states follow from the time at
// which they are looked at. It keeps a record of its own of every call and every retry,
// which is what tests hold retryd's promises against.
package emulator

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"retryd/internal/iotda"
)

// Options describe the emulated instance. ProjectID and one key, token or user are required.
type Options struct {
	ProjectID  string
	InstanceID string            // what the Instance-Id header has to be; empty = not looked at
	Region     string            // in derived signatures; empty = any
	Keys       map[string]string // access key -> secret key
	Tokens     []string          // accepted as X-Auth-Token
	Users      []User            // who may log in at IAM
	TokenLife  time.Duration     // of what IAM gives; 0 = 24 h, as documented
	Signing    string            // "basic" or "derived": the only form that is accepted; empty = both
	Latency    time.Duration     // of each call
	PerSecond  float64           // calls a second; above it 429. 0 = no limit
	Apps       []iotda.App       // resource spaces
	Upgrade    time.Duration     // how long a re-run takes; 0 = 2 s
	Slow       time.Duration     // how long what is slow or late takes; 0 = 30 s
	Huge       int               // bytes of what is huge; 0 = 40 MB
	Seed       uint64            // of the order of what the API does not order
}

// Emulator is one instance. It is an http.Handler.
type Emulator struct {
	o   Options
	mux *http.ServeMux

	mu      sync.Mutex
	tasks   map[string]*task
	motion  map[string]int // by device: the tasks in which it is in motion
	nextID  uint64
	lastID  uint64 // of rows that have moved to the end of their lists
	keys    map[string]*keyState
	tokens  float64 // of the rate limit
	filled  time.Time
	rand    *rand.Rand
	fault   func(Call) Fault
	calls   []Call
	retries []Retry
	logins  []Login
	issued  map[string]time.Time // IAM's tokens, and when they end
	users   map[string]*userState

	clock       time.Duration // of the Date header, against the true time
	offline     map[string]bool
	deviceMarks map[string]int
}

// Call is one request as the emulator saw it.
type Call struct {
	N       int
	At      time.Time
	Op      string // as the platform's SDK calls it, such as RetryBatchTask
	TaskID  string
	Query   url.Values
	Targets []string
	Read    time.Time // when the target that was read longest ago was asked for; zero = one never was
	Status  int       // of the reply; 0 = the connection was cut
	Code    string    // of the reply
	Fault   Fault
}

// Retry is one target of one request to retry it.
type Retry struct {
	At         time.Time
	TaskID     string
	Target     string
	Accepted   bool
	Console    bool                // by a person, not through the API
	Call       int                 // Call.N; of one by a person nothing
	Replied    bool                // the answer was sent
	From       iotda.SubtaskStatus // what it was before
	Busy       string              // another task in which the device was in motion
	TaskStatus iotda.TaskStatus
}

// New makes an instance without tasks.
func New(o Options) *Emulator {
	if o.Upgrade == 0 {
		o.Upgrade = 2 * time.Second
	}
	if o.Slow == 0 {
		o.Slow = 30 * time.Second
	}
	if o.Huge == 0 {
		o.Huge = 40 << 20
	}
	if o.TokenLife == 0 {
		o.TokenLife = 24 * time.Hour
	}
	e := &Emulator{
		o: o, mux: http.NewServeMux(), tasks: map[string]*task{}, motion: map[string]int{}, keys: map[string]*keyState{},
		issued: map[string]time.Time{}, users: map[string]*userState{},
		rand: rand.New(rand.NewPCG(o.Seed, 7)), nextID: 0x5f2bc5a1b2c3d4e5, lastID: 0x5f2bc5a1b2c3d4e5,
	}
	e.mux.HandleFunc("GET /v5/iot/{project}/batchtasks", e.serve(opList, e.list))
	e.mux.HandleFunc("GET /v5/iot/{project}/batchtasks/{task}", e.serve(opShow, e.show))
	e.mux.HandleFunc("POST /v5/iot/{project}/batchtasks/{task}/retry", e.serve(opRetry, e.retry))
	e.mux.HandleFunc("GET /v5/iot/{project}/apps", e.serve(opApps, e.listApps))
	e.mux.HandleFunc("GET /v5/iot/{project}/devices", e.serve(opDevices, e.listDevices))
	e.mux.HandleFunc("GET /v5/iot/{project}/devices/{task}", e.serve(opDevice, e.showDevice))
	e.mux.HandleFunc("POST /v3/auth/tokens", e.serveLogin)
	e.mux.HandleFunc("/", notFound)
	return e
}

// ServeHTTP answers one call.
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) { e.mux.ServeHTTP(w, r) }

// Calls gives every call so far, in order.
func (e *Emulator) Calls() []Call {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.calls)
}

// Retries gives every retried target so far, in order.
func (e *Emulator) Retries() []Retry {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.retries)
}

// SetFault sets what goes wrong: f is asked for each call, with no lock held. nil and ""
// mean that nothing does.
func (e *Emulator) SetFault(f func(Call) Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fault = f
}

// SetClock moves the platform's clock, as far as the Date header of its replies shows it.
func (e *Emulator) SetClock(offset time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clock = offset
}

// id gives ids that rise, as the platform's do.
func (e *Emulator) id() string {
	e.nextID++
	return fmt.Sprintf("%016x%08x", e.nextID, e.rand.Uint32())
}

// apiError is a refusal in the platform's form.
type apiError struct {
	status        int
	code, message string
}
