package torture

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	cyclesFlag = flag.Int("cycles", 20, "how often the program is killed; on PostgreSQL two times in five of that if it is more")
	seedFlag   = flag.Uint64("seed", 0, "of all choices that are left to chance; 0 = a new one")
)

// long tells whether there is time to wait for what takes long.
func long() bool { return *cyclesFlag > 20 }

func newSeed() uint64 {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1e9
	}
	return seed
}

// proof is a world, a ledger, and the program between them.
type proof struct {
	t        *testing.T
	seed     uint64
	rand     *rand.Rand
	p        *platform
	w        *world
	ledger   ledger
	settings settings
	file     string // of the configuration
	starts   []time.Time
	spare    int             // calls in flight beside those of one process
	reigns   func() []reign  // nil = there is one process at a time
	found    map[string]bool // what breaks a rule
	f        figures

	made []*daemon // starts while the ledger was made
	old  bool      // the ledger was there before
}

func newProof(t *testing.T, starts int, l ledger) *proof {
	seed := newSeed()
	keys := map[string]string{}
	for i := range starts {
		keys[accessKey(i)] = secret
	}
	p := &proof{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 0)), p: newPlatform(t, seed, keys), ledger: l, found: map[string]bool{}}
	p.w = newWorld(t, p.p, seed)
	p.settings = settings{store: l.url, endpoint: p.p.server.URL, connection: "prod", policy: "nightly", layout: byType}
	p.file = filepath.Join(t.TempDir(), "retryd.yaml")
	p.f = newFigures(fmt.Sprintf("%s, %s, seed %d", t.Name(), l.kind, seed))
	return p
}

func accessKey(i int) string { return fmt.Sprintf("AK%05d", i) }

// launch starts the program, with a key of its own: a kill during the first call with a key is a
// refusal for all the next process knows, and two of them hold that key back for 5 minutes.
func (p *proof) launch() *daemon {
	p.settings.key, p.settings.listen = accessKey(len(p.starts)), freeAddress(p.t)
	p.write()
	d := launch(p.t, p.settings.listen, p.file)
	d.key = p.settings.key
	p.starts = append(p.starts, d.started)
	return d
}

func (p *proof) write() { require.NoError(p.t, os.WriteFile(p.file, []byte(p.settings.text()), 0o600)) }

// evidence takes both records.
func (p *proof) evidence(read func() (rows, error)) *evidence {
	e := &evidence{subjects: p.w.subjects, starts: p.starts, status: p.w.status, skew: p.ledger.skew, spare: p.spare}
	e.arrivals, e.posts = p.p.came()
	e.calls, e.retries = p.p.Calls(), p.p.Retries()
	if p.reigns != nil {
		e.reigns = p.reigns()
	}
	var err error
	if e.ledger, err = read(); err != nil {
		p.broken("the ledger can be read", err.Error(), nil)
	}
	e.later = p.p.Retries()
	return e
}

// judge holds the evidence against rules.
func (p *proof) judge(e *evidence, rules []rule, d *daemon) {
	for _, r := range rules {
		for _, what := range r.breaks(e) {
			p.broken(r.name, what, d)
		}
	}
}

// broken reports what breaks a rule, once.
func (p *proof) broken(rule, what string, d *daemon) {
	text := rule + ": " + what
	if p.found[text] {
		return
	}
	p.found[text] = true
	if d != nil && len(p.found) <= 5 {
		text += "\nthe last lines of the process:\n" + d.out.last(12)
	}
	p.t.Errorf("seed %d, start %d: %s", p.seed, len(p.starts), text)
}

// rest lets a last process run until all has settled, ends it, and judges for good.
func (p *proof) rest(wait time.Duration, waits func(attempt) bool) {
	p.p.calm.Store(true)
	p.settings.layout = byType
	d := p.launch()
	require.NoError(p.t, d.ready())
	begun := time.Now()
	for deadline := begun.Add(wait); time.Now().Before(deadline); {
		if d.within(200 * time.Millisecond) {
			break
		}
		if e := p.evidence(p.ledger.read); len(e.withWaits(waits).stuck()) == 0 {
			break
		}
	}
	p.f.rest = time.Since(begun)
	d.stop(p)
	e := p.evidence(p.ledger.readDead).withWaits(waits)
	p.judge(e, append(slices.Clone(always), atRest...), d)
	p.f.end(e)
	p.f.violations = len(p.found)
	p.t.Log("\n" + p.f.text())
}

func (e *evidence) withWaits(waits func(attempt) bool) *evidence {
	e.waits = waits
	return e
}
