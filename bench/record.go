package main

import (
	"net/http"
	"slices"
	"time"

	"retryd/internal/iotda"
)

// record is what a platform says of its calls.
type record struct {
	Calls     int
	ByOp      map[string]int
	Open      int // calls that have no answer: not yet, or their connection was cut
	Refused   int // calls that were answered with something else than 200
	Retries   int // targets of retry calls
	Missed    int // targets that failed and were never retried
	Once      int // targets that were retried exactly once, with success
	Twice     int // targets that were retried more than once, or when they could not be
	First     time.Time
	Last      time.Time
	Busy      time.Duration // from the first retry to the last
	Busiest   int           // calls in the second with the most
	Durable   int           // targets whose attempt was in the ledger when their call arrived
	Undurable int           // those whose was not
}

func (p *platform) record() record {
	r := record{ByOp: map[string]int{}}
	var at []time.Time
	var firstRetry, lastRetry time.Time
	for _, e := range p.projects {
		for _, call := range e.Calls() {
			r.Calls++
			r.ByOp[call.Op]++
			switch call.Status {
			case 0:
				r.Open++
			case http.StatusOK:
			default:
				r.Refused++
			}
			at = append(at, call.At)
		}
		type target struct{ task, device string }
		retries := e.Retries()
		tries, bad := map[target]int{}, map[target]bool{}
		for _, retry := range retries {
			r.Retries++
			if firstRetry.IsZero() || retry.At.Before(firstRetry) {
				firstRetry = retry.At
			}
			if retry.At.After(lastRetry) {
				lastRetry = retry.At
			}
			k := target{retry.TaskID, retry.Target}
			tries[k]++
			bad[k] = bad[k] || !retry.Accepted
		}
		for k, n := range tries {
			if n == 1 && !bad[k] {
				r.Once++
			} else {
				r.Twice++
			}
		}
		for _, t := range e.Tasks() {
			r.Missed += t.Progress.Of(iotda.SubtaskFail)
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	for i, j := 0, 0; j < len(at); j++ {
		for at[j].Sub(at[i]) >= time.Second {
			i++
		}
		r.Busiest = max(r.Busiest, j-i+1)
	}
	if len(at) > 0 {
		r.First, r.Last = at[0], at[len(at)-1]
	}
	r.Busy = lastRetry.Sub(firstRetry)
	r.Durable, r.Undurable = p.witness.counts()
	return r
}
