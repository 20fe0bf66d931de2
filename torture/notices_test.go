package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
)

// told is a digest as its receiver reads it.
type told struct {
	ID      string
	Targets []struct {
		TaskID   string `json:"task_id"`
		DeviceID string `json:"device_id"`
	}
	Counts map[string]int
	body   string
}

// listener is a receiver of notices.
type listener struct {
	t      *testing.T
	server *httptest.Server
	came   chan struct{} // a digest has come, and was not answered yet

	mu     sync.Mutex
	silent bool // it never answers
	got    []told
}

func newListener(t *testing.T) *listener {
	l := &listener{t: t, came: make(chan struct{}, 1000)}
	l.server = httptest.NewServer(l)
	t.Cleanup(func() { l.server.Close() })
	return l
}

// ServeHTTP takes a digest.
func (l *listener) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // who sent it was killed
	}
	d := told{body: string(body)}
	if err := json.Unmarshal(body, &d); err != nil || d.ID != r.Header.Get("Retryd-Digest") {
		l.t.Errorf("no digest: %s", body)
	}
	l.mu.Lock()
	l.got = append(l.got, d)
	silent := l.silent
	l.mu.Unlock()
	l.came <- struct{}{}
	if silent {
		<-r.Context().Done()
	}
}

func (l *listener) keepsSilent(silent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = silent
}

// heard gives of how many ends digests of different ids tell, in how many of them each target is
// named, and how many came again. A digest that came again is the same one.
func (l *listener) heard() (ends int, named map[key]int, again int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	named = map[key]int{}
	bodies := map[string]string{}
	for _, d := range l.got {
		if before, ok := bodies[d.ID]; ok {
			again++
			if before != d.body {
				l.t.Errorf("digest %s has come as\n%s\nand as\n%s", d.ID, before, d.body)
			}
			continue
		}
		bodies[d.ID] = d.body
		if len(d.Targets) != min(d.Counts["permanent"], 20) {
			l.t.Errorf("digest %s names %d of %d targets", d.ID, len(d.Targets), d.Counts["permanent"])
		}
		ends += d.Counts["permanent"]
		for _, target := range d.Targets {
			named[key{target.TaskID, target.DeviceID}]++
		}
	}
	return ends, named, again
}

// tellers is a proof whose daemons tell a receiver of what happens.
type tellers struct {
	*proof
	l    *listener
	want map[key]bool // targets that come to their end
}

func newTellers(t *testing.T, starts int) *tellers {
	p := &tellers{proof: newProof(t, starts, sqliteLedger(t.TempDir())), l: newListener(t), want: map[key]bool{}}
	p.p.calm.Store(true)
	return p
}

// doom adds a task of targets that no retry mends: a sweep ends them.
func (p *tellers) doom() {
	devices := make([]emulator.Device, 1+p.rand.IntN(8))
	for i := range devices {
		devices[i] = emulator.Device{ID: fmt.Sprintf("doomed-%03d", len(p.want)+i), Status: iotda.SubtaskFail, Fate: emulator.Fate{Message: unmendable}}
	}
	id, err := p.p.AddTask(emulator.Task{Name: "doomed", Type: iotda.FirmwareUpgrade, Devices: devices})
	require.NoError(p.t, err)
	for _, d := range devices {
		p.want[key{id, d.ID}] = true
	}
}

// start starts the program with the receiver in its configuration.
func (p *tellers) start(batch time.Duration) *daemon {
	p.settings.key, p.settings.listen = accessKey(len(p.starts)), freeAddress(p.t)
	folder := p.t.TempDir()
	notify := fmt.Sprintf("notify: [{name: own, url: %q, format: json, events: [permanent], batch: %s, timeout: 5s}]\n", p.l.server.URL, batch)
	for name, text := range map[string]string{"retryd.yaml": p.settings.text(), "notify.yaml": notify} {
		require.NoError(p.t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	d := launch(p.t, p.settings.listen, folder)
	d.key = p.settings.key
	p.starts = append(p.starts, d.started)
	require.NoError(p.t, d.ready())
	return d
}

// ended counts the targets that have come to their end by what a ledger in use says.
func (p *tellers) ended() (n int) {
	r, err := p.ledger.read()
	require.NoError(p.t, err)
	for _, row := range r.targets {
		if row.outcome == "permanent" {
			n++
		}
	}
	return n
}

// until waits for something, while the program runs.
func (p *tellers) until(d *daemon, what string, done func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); {
		if d.within(2*time.Millisecond) || time.Now().After(deadline) {
			p.t.Fatalf("seed %d: not yet: %s\n%s", p.seed, what, d.out.last(20))
		}
	}
}

// all tells whether the receiver has heard of everything.
func (p *tellers) all() bool {
	ends, _, _ := p.l.heard()
	return ends >= len(p.want)
}

// judgeTold holds what was told against what has happened.
func (p *tellers) judgeTold() (again int) {
	ends, named, again := p.l.heard()
	require.Equal(p.t, len(p.want), ends, "seed %d: each end is told of in one digest", p.seed)
	for k, n := range named {
		require.True(p.t, n == 1 && p.want[k], "seed %d: %d digests tell of %v", p.seed, n, k)
	}
	return again
}

// TestKilledBetweenAnEndAndItsNotice kills the program after it has written that targets have come
// to their end, and before anybody was told: the next start tells.
func TestKilledBetweenAnEndAndItsNotice(t *testing.T) {
	t.Parallel()
	n := max(3, *cyclesFlag/10)
	p := newTellers(t, n+2)
	p.start(time.Hour).kill() // the receiver is known from now on
	for range n {
		p.doom()
		d := p.start(time.Hour) // whose digests wait, as those of a moment do
		p.until(d, "the ends are written", func() bool { return p.ended() == len(p.want) })
		d.kill()
	}
	ends, _, _ := p.l.heard()
	require.Zero(t, ends)
	d := p.start(0)
	p.until(d, "it is told", p.all)
	d.kill()
	require.Zero(t, p.judgeTold())
	t.Logf("%d kills after an end was written, seed %d: %d ends, each told of once", n, p.seed, len(p.want))
}

// TestKilledWhileADigestIsSent kills the program while a receiver reads a digest, or a moment after
// it was answered: it may come again, as the same one, and what is new is another.
func TestKilledWhileADigestIsSent(t *testing.T) {
	t.Parallel()
	n := max(4, *cyclesFlag/4)
	p := newTellers(t, n+2)
	p.start(0).kill()
	for i := range n {
		p.doom()
		p.l.keepsSilent(i%2 == 0)
		for len(p.l.came) > 0 {
			<-p.l.came
		}
		d := p.start(0)
		select {
		case <-p.l.came:
		case <-d.ended:
		case <-time.After(time.Minute):
			t.Fatalf("seed %d: no digest came\n%s", p.seed, d.out.last(20))
		}
		d.within(between(p.rand, 0, 3*time.Millisecond))
		d.kill()
	}
	p.l.keepsSilent(false)
	d := p.start(0)
	p.until(d, "everything is told", p.all)
	d.kill()
	again := p.judgeTold()
	require.Positive(t, again, "half of them were never answered")
	t.Logf("%d kills as a digest was sent, seed %d: %d ends told of, %d digests came again, each the same", n, p.seed, len(p.want), again)
}

// TestAReceiverThatIsAwayForAWhileIsToldLater takes the receiver away, restarts the program
// meanwhile, and brings the receiver back.
func TestAReceiverThatIsAwayForAWhileIsToldLater(t *testing.T) {
	t.Parallel()
	p := newTellers(t, 3)
	address := p.l.server.Listener.Addr().String()
	p.start(0).kill()
	p.l.server.CloseClientConnections()
	p.l.server.Listener.Close()
	for range 2 {
		p.doom()
	}
	d := p.start(0)
	p.until(d, "a try has failed", func() bool { return p.failed(d) > 0 })
	d.stop(p.proof)
	d = p.start(0)
	p.doom()
	p.until(d, "another try has failed", func() bool { return p.failed(d) > 0 })
	ends, _, _ := p.l.heard()
	require.Zero(t, ends)
	back, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	require.NoError(t, err)
	server := &http.Server{Handler: p.l, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(back) }()
	defer server.Close()
	p.until(d, "it is told", p.all)
	d.stop(p.proof)
	require.Zero(t, p.judgeTold())
}

// failed counts the tries that a process says have failed.
func (p *tellers) failed(d *daemon) int { return strings.Count(d.out.all(), "digest not sent") }
