package emulator

import (
	"io"
	"net/http"
	"net/url"
	"time"
)

type operation func(taskID string, query url.Values, body []byte) (any, *apiError)

// serve is what all operations have in common: faults, latency, authentication, the
// rate, the record.
func (e *Emulator) serve(op string, run operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			return // the caller has gone
		}
		call := Call{At: time.Now(), Op: op, TaskID: r.PathValue("task"), Query: r.URL.Query()}
		if targets, bad := readTargets(body); bad == nil && op == opRetry {
			call.Targets = targets
		}
		call.N = e.record(call)
		call.Fault = e.faultFor(call)
		w.Header().Set("Date", e.date(call.Fault).UTC().Format(http.TimeFormat))
		if !wait(r, e.o.Latency) {
			return
		}
		other, instead := call.Fault.instead()
		switch {
		case call.Fault == FaultCut:
			panic(http.ErrAbortHandler)
		case instead && !other.applied:
			e.outcome(call.N, other.status, other.code)
			other.write(w)
			return
		case call.Fault == FaultLate: // whether or not the caller waits
			time.Sleep(e.o.Slow)
		}
		reply, refusal, retried := e.run(r, call, body, run)
		switch {
		case call.Fault == FaultLostReply || call.Fault == FaultLate:
			panic(http.ErrAbortHandler)
		case refusal != nil:
			e.outcome(call.N, refusal.status, refusal.code)
			writeError(w, refusal)
		case instead:
			e.outcome(call.N, other.status, other.code)
			other.write(w)
		default:
			e.outcome(call.N, http.StatusOK, "")
			if e.writeReply(w, r, reply, call) {
				e.replied(retried)
			}
		}
	}
}

// date is what the platform's clock shows.
func (e *Emulator) date(f Fault) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := time.Now().Add(e.clock)
	if f == FaultClock || f == FaultSkew {
		at = at.Add(time.Hour)
	}
	return at
}

// run makes the call's checks and effects. retried are the retries that it recorded.
func (e *Emulator) run(r *http.Request, c Call, body []byte, run operation) (reply any, refusal *apiError, retried [2]int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if refusal := e.authenticate(r, body, now); refusal != nil {
		return nil, refusal, retried
	}
	if e.tooMany(now) {
		return nil, &apiError{http.StatusTooManyRequests, "APIGW.0308", "The throttling threshold has been reached"}, retried
	}
	if r.PathValue("project") != e.o.ProjectID {
		return nil, &apiError{http.StatusForbidden, "IOTDA.000021", "The user is not subscribed to the service in this project"}, retried
	}
	e.advanceAll(now)
	if c.Fault == FaultOtherInstance {
		defer func(tasks map[string]*task) { e.tasks = tasks }(e.tasks)
		e.tasks = map[string]*task{}
	}
	first := len(e.retries)
	reply, refusal = run(c.TaskID, e.disturb(c), body)
	for i := first; i < len(e.retries); i++ {
		e.retries[i].Call = c.N
	}
	return reply, refusal, [2]int{first, len(e.retries)}
}

func (e *Emulator) record(c Call) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.N, c.Read = len(e.calls), e.oldestRead(c)
	e.calls = append(e.calls, c)
	return c.N
}

// oldestRead gives when the target of a call that was read longest ago was asked for.
func (e *Emulator) oldestRead(c Call) (oldest time.Time) {
	t := e.tasks[c.TaskID]
	for i, device := range c.Targets {
		if t == nil || t.byName[device] == nil {
			return time.Time{}
		}
		if at := t.byName[device].read; i == 0 || at.Before(oldest) {
			oldest = at
		}
	}
	return oldest
}

// outcome completes the record of a call. One without it was cut.
func (e *Emulator) outcome(n, status int, code string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls[n].Status, e.calls[n].Code = status, code
}

func (e *Emulator) replied(retried [2]int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := retried[0]; i < retried[1]; i++ {
		e.retries[i].Replied = true
	}
}

// tooMany takes from a bucket that holds one second's calls.
func (e *Emulator) tooMany(now time.Time) bool {
	if e.o.PerSecond == 0 {
		return false
	}
	e.tokens = min(e.o.PerSecond, e.tokens+now.Sub(e.filled).Seconds()*e.o.PerSecond)
	e.filled = now
	if e.tokens < 1 {
		return true
	}
	e.tokens--
	return false
}

func wait(r *http.Request, d time.Duration) bool {
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}
