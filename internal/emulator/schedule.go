package emulator

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Step is one line of a schedule of faults: which calls it is about, and what goes wrong with
// them. A bound that is zero is none.
type Step struct {
	Op          string // empty = every operation
	First, Last int    // which calls of it, from 1 on, since the schedule was made
	From, Until time.Time
	Fault       Fault
}

// Schedule is a choice for SetFault: the fault of the first step that is about the call.
func Schedule(steps ...Step) func(Call) Fault {
	var mu sync.Mutex
	seen := map[string]int{}
	return func(c Call) Fault {
		mu.Lock()
		defer mu.Unlock()
		seen[c.Op]++
		seen[""]++
		for _, s := range steps {
			if s.is(c, seen[s.Op]) {
				return s.Fault
			}
		}
		return ""
	}
}

// is tells whether the step is about a call that is the n-th of the step's operation.
func (s Step) is(c Call, n int) bool {
	return (s.Op == "" || s.Op == c.Op) && s.Fault.On(c.Op) && n >= s.First && (s.Last == 0 || n <= s.Last) &&
		!c.At.Before(s.From) && (s.Until.IsZero() || c.At.Before(s.Until))
}

// Odds are probabilities by operation; "" is that of every operation that is not named.
type Odds map[string]float64

// Chance is a choice for SetFault: one of the faults, with the probability of the call's
// operation. One seed gives the n-th call, if it is of the same operation, the same fault.
func Chance(seed uint64, odds Odds, faults ...Fault) func(Call) Fault {
	fitting := map[string][]Fault{}
	for _, op := range Operations() {
		for _, f := range faults {
			if f.On(op) {
				fitting[op] = append(fitting[op], f)
			}
		}
	}
	return func(c Call) Fault {
		p, named := odds[c.Op]
		if !named {
			p = odds[""]
		}
		random := rand.New(rand.NewPCG(seed, uint64(c.N)))
		if of := fitting[c.Op]; len(of) > 0 && random.Float64() < p {
			return of[random.IntN(len(of))]
		}
		return ""
	}
}
