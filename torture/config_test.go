package torture

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// What is the same in every configuration, and is held against what happens.
const (
	maxAttempts = 3
	perSecond   = 250
	burst       = 5
	concurrency = 4
	settle      = 200 * time.Millisecond
)

// settings are what is edited in a configuration from one start to the next.
type settings struct {
	store      string // the ledger's URL
	lease      string // its ttl; empty = the default
	endpoint   string
	listen     string
	key        string // access key
	connection string // names
	policy     string
	layout     string
}

// The layouts: which policies there are.
const (
	byType       = "one policy for each type of task"
	together     = "one policy for both types"
	firmwareOnly = "software tasks are left alone"
)

// edit changes something that changes no count.
func (s *settings) edit(r *rand.Rand) {
	switch r.IntN(4) {
	case 0:
		s.connection = pick(r, []string{"prod", "production"})
	case 1:
		s.policy = pick(r, []string{"nightly", "upgrades"})
	default:
		s.layout = pick(r, []string{byType, together, firmwareOnly})
	}
}

// text is the configuration.
func (s *settings) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, `server: {listen: %q}
log: {level: debug}
store: {url: %q}
lease: {ttl: %s}
connections:
  - name: %s
    endpoint: %s
    region: %s
    project_id: %s
    auth: {aksk: {access_key: %s, secret_key: %s}}
    requests_per_second: %d
    burst: %d
    concurrency: %d
    timeout: 6s
    backoff: {initial: 20ms, max: 200ms, max_elapsed: 1s}
policies:
`, s.listen, s.store, cmp.Or(s.lease, "15s"), s.connection, s.endpoint, region, project, s.key, secret, perSecond, burst, concurrency)
	policy := func(name, types string) {
		fmt.Fprintf(&b, `  - name: %s
    schedule: "@every 1s"
    tasks: {types: [%s], backlog: true}
    attempts: {max: %d, backoff: {initial: 200ms, multiplier: 2, max: 1s}, settle: %s}
    limits: off
    halt: off
`, name, types, maxAttempts, settle)
	}
	switch s.layout {
	case byType:
		policy(s.policy, "firmwareUpgrade")
		policy(s.policy+"-software", "softwareUpgrade")
	case firmwareOnly:
		policy(s.policy, "firmwareUpgrade")
	default:
		policy(s.policy, "firmwareUpgrade, softwareUpgrade")
	}
	return b.String()
}
