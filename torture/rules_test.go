package torture

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
)

// evidence is both records. The platform's is read before the ledger's, as a retry may not leave
// before its attempt is written, and once more after it, as nothing may be written that has not
// happened.
type evidence struct {
	arrivals []time.Time // of calls, before any delay on their way
	posts    []post
	reigns   []reign // in their order; none where there is one process at a time
	calls    []emulator.Call
	retries  []emulator.Retry
	ledger   rows
	later    []emulator.Retry // all that the platform had recorded after the ledger was read
	subjects map[key]*subject
	starts   []time.Time // when a process began that may use a burst
	skew     time.Duration
	spare    int // calls in flight beside those of one process

	status func(key) iotda.SubtaskStatus // of the platform; for the rules of what is at rest
	waits  func(attempt) bool            // it cannot have come to its outcome yet; nil = all can
}

// rule is a promise. It gives what breaks it.
type rule struct {
	name   string
	breaks func(*evidence) []string
}

// always are the rules that hold at any moment.
var always = []rule{
	{"never more than max", (*evidence).tooMany},
	{"only what may be retried", (*evidence).forbidden},
	{"every send has its attempt", (*evidence).unrecorded},
	{"what the ledger says has happened", (*evidence).invented},
	{"one open attempt a device", (*evidence).together},
	{"not faster than the rate", (*evidence).tooFast},
	{"counts are sums", (*evidence).miscounted},
	{"only who holds the lease sends", (*evidence).strangers},
}

// proven are the answers by which a retry call had no effect.
var proven = []int{400, 401, 403, 404, 413, 429}

// send is a target named in a retry call that may have had an effect.
type send struct {
	key
	at time.Time
}

func (e *evidence) sends() (all []send) {
	for _, c := range e.calls {
		if c.Op != "RetryBatchTask" || slices.Contains(proven, c.Status) {
			continue
		}
		for _, device := range c.Targets {
			all = append(all, send{key{c.TaskID, device}, c.At})
		}
	}
	slices.SortStableFunc(all, func(a, b send) int { return a.at.Compare(b.at) })
	return all
}

func (e *evidence) tooMany() (broken []string) {
	sent := map[key]int{}
	for _, s := range e.sends() {
		spent := 0
		if known := e.subjects[s.key]; known != nil {
			spent = known.spent
		}
		if sent[s.key]++; sent[s.key]+spent == maxAttempts+1 {
			broken = append(broken, fmt.Sprintf("%v was sent for the %d. time at %s", s.key, maxAttempts+1, clock(s.at)))
		}
	}
	for _, t := range e.ledger.targets {
		if t.counted > maxAttempts {
			broken = append(broken, fmt.Sprintf("%v has %d counted attempts", t.key, t.counted))
		}
	}
	return broken
}

func (e *evidence) forbidden() (broken []string) {
	for _, r := range e.retries {
		k, why := key{r.TaskID, r.Target}, ""
		switch s := e.subjects[k]; {
		case s == nil:
			why = "nobody knows it"
		case s.never:
			why = "it must not be retried"
		case !r.TaskStatus.Retryable():
			why = "its task was " + string(r.TaskStatus)
		case r.From != iotda.SubtaskFail:
			why = "it was " + string(r.From)
		case r.Busy != "":
			why = "it was in motion in task " + r.Busy
		}
		if why != "" {
			broken = append(broken, fmt.Sprintf("%v was retried at %s: %s", k, clock(r.At), why))
		}
	}
	return broken
}

// unrecorded looks for sends without an attempt of their own: the last one that was claimed
// before. One that the ledger takes for released must not have been sent at all.
func (e *evidence) unrecorded() (broken []string) {
	attempts, used := e.ledger.byTarget(), map[key]int{}
	for _, s := range e.sends() {
		i := latest(attempts[s.key], s.at.Add(e.skew))
		if i < 0 {
			broken = append(broken, fmt.Sprintf("%v was sent at %s without any attempt", s.key, clock(s.at)))
			continue
		}
		a, why := attempts[s.key][i], ""
		switch {
		case !a.counted():
			why = "which is released"
		case used[s.key] == a.n:
			why = "which had been sent already"
		case s.at.After(a.sendBy.Add(e.skew)):
			why = "which had to be sent by " + clock(a.sendBy)
		}
		used[s.key] = a.n
		if why != "" {
			broken = append(broken, fmt.Sprintf("%v was sent at %s under attempt %d, %s", s.key, clock(s.at), a.n, why))
		}
	}
	return broken
}

// latest gives the index of the last attempt that was claimed by then, -1 for none.
func latest(attempts []attempt, then time.Time) int {
	i := len(attempts) - 1
	for i >= 0 && attempts[i].claimed.After(then) {
		i--
	}
	return i
}

func (r rows) byTarget() map[key][]attempt {
	all := map[key][]attempt{}
	for _, a := range r.attempts {
		all[a.key] = append(all[a.key], a)
	}
	return all
}

// invented looks for attempts of which the ledger says more than the platform has seen.
func (e *evidence) invented() (broken []string) {
	attempts, seen := e.ledger.byTarget(), map[string]bool{}
	for _, r := range e.later {
		k := key{r.TaskID, r.Target}
		if i := latest(attempts[k], r.At.Add(e.skew)); i >= 0 && r.Accepted {
			seen[attempts[k][i].name()] = true
		}
	}
	for _, a := range e.ledger.attempts {
		if (a.state == "accepted" || a.state == "recovered" || a.moved) && !seen[a.name()] {
			broken = append(broken, fmt.Sprintf("%s is %s, seen in motion: %t, and the platform did not accept it", a.name(), a.state, a.moved))
		}
	}
	return broken
}

func (e *evidence) together() (broken []string) {
	byDevice := map[string][]attempt{}
	for _, a := range e.ledger.attempts {
		byDevice[a.device] = append(byDevice[a.device], a)
	}
	for device, attempts := range byDevice {
		slices.SortFunc(attempts, func(a, b attempt) int { return cmp.Or(a.claimed.Compare(b.claimed), cmp.Compare(a.n, b.n)) })
		for i, b := range attempts[min(1, len(attempts)):] {
			if a := attempts[i]; a.open() || b.claimed.Before(a.ended) {
				broken = append(broken, fmt.Sprintf("device %s: attempt %d in task %s was claimed at %s, and attempt %d in task %s is %s, ended %s",
					device, b.n, b.task, clock(b.claimed), a.n, a.task, a.state, clock(a.ended)))
			}
		}
	}
	slices.Sort(broken)
	return broken
}

// tooFast looks at a bucket that calls fill and the rate empties. A start empties it too: the
// next process does not know what the last one used, which is one burst for each. Calls that were
// in flight together may arrive together.
func (e *evidence) tooFast() (broken []string) {
	over, _ := e.bucket()
	for _, at := range over {
		broken = append(broken, fmt.Sprintf("calls came too early at %s: more than %d, and %d in flight, above %d a second", clock(at), burst, concurrency, perSecond))
	}
	return broken
}

// bucket gives when it ran over, and how full it was at most.
func (e *evidence) bucket() (over []time.Time, fullest float64) {
	starts := e.starts
	level, last := 0.0, time.Time{}
	for _, at := range e.arrivals {
		for len(starts) > 0 && !starts[0].After(at) {
			starts, level = starts[1:], 0
		}
		level = max(0, level-perSecond*at.Sub(last).Seconds()) + 1
		fullest, last = max(fullest, level), at
		if level > float64(burst+concurrency+e.spare) {
			over, level = append(over, at), 0 // one line for one excess
		}
	}
	return over, fullest
}

func (e *evidence) miscounted() (broken []string) {
	attempts := e.ledger.byTarget()
	for _, t := range e.ledger.targets {
		counted, last := 0, 0
		for _, a := range attempts[t.key] {
			if a.n != last+1 {
				broken = append(broken, fmt.Sprintf("%v: attempt %d follows attempt %d", t.key, a.n, last))
			}
			if last = a.n; a.counted() && a.n > t.forgiven {
				counted++
			}
		}
		if counted != t.counted || last != t.lastN {
			broken = append(broken, fmt.Sprintf("%v: counted is %d and last_n %d, its attempts are %d of %d", t.key, t.counted, t.lastN, counted, last))
		}
		delete(attempts, t.key)
	}
	for k := range attempts {
		broken = append(broken, fmt.Sprintf("%v has attempts and no row of its own", k))
	}
	return broken
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000000") }

func (a attempt) name() string { return fmt.Sprintf("attempt %d of %v", a.n, a.key) }

// String names a target in a finding.
func (k key) String() string { return k.device + " of task " + k.task }
