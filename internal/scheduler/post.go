package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// errUnknown is in the chain of the error of a retry call without an answer that proves
// anything. Each target of it has used an attempt, so the task is not gone on with blindly.
var errUnknown = errors.New("it is not known whether the retry call had an effect: its targets count as attempted")

// errRefused is in the chain of the error of a retry call that the platform refused whole.
var errRefused = errors.New("the platform refused to retry the task")

// post is one retry call, or the several that a refused one is divided into.
type post struct {
	*taskSweep
	ctx      context.Context
	inFlight context.Context // of the call: it outlives ctx by the grace, but not the lease
	kept     context.Context // of writing what came of it: for as long as the program runs, and the grace
	readAt   time.Time
	whole    bool     // it names nobody, and re-runs the whole task
	small    bool     // others of the same task follow
	again    bool     // it has to go again with those
	free     func()   // frees its slot: what is left to be done is the ledger's
	calls    int      // under the claim
	released []string // devices whose claims were taken back
}

// call sends claimed attempts and writes down what came of them.
func (p *post) call(program context.Context, claimed []store.Claimed) error {
	inFlight, cancel := stopping(program)
	defer cancel()
	p.inFlight, cancel = p.drive.during(inFlight)
	defer cancel()
	p.kept, cancel = stopping(p.life(program))
	defer cancel()
	answers, err := p.try(claimed)
	if !p.ofTargets(err) || p.small {
		p.free()
	}
	switch e := iotdaclient.AsError(err); {
	case err == nil:
		return errors.Join(p.note(answers), p.taken(p.kept))
	case p.ofTargets(err) && p.small:
		// The platform answers, which is what was to be seen. What it refuses, the task or this
		// target, a larger call tells.
		p.again = true
		p.circuit.answered()
		return p.note(answers)
	case p.ofTargets(err):
		return p.halve(claimed, e)
	case errors.Is(err, errRefused):
		return p.refusedWhole(claimed, e)
	}
	return errors.Join(err, p.note(answers))
}

// try sends one call, and says what came of it for each of its claims. An error is why no other
// call should follow it as it is: errRefused is in its chain where what the call asks for was
// refused, errUnknown where its effect is not known.
func (p *post) try(claimed []store.Claimed) ([]store.Answer, error) {
	answer, e, err := p.send(devicesOf(claimed))
	now := p.o.Store.Now()
	switch {
	case err != nil:
		return released(claimed, now, err.Error()), err
	case e == nil && p.whole:
		return []store.Answer{{Claimed: claimed[0], State: policy.Accepted, AnsweredAt: now}}, nil
	case e == nil:
		return p.answered(claimed, answer, now), nil
	case !e.NoEffect():
		return answers(claimed, policy.Unknown, now, e), fmt.Errorf("%w: %w", errUnknown, e)
	case ofTask(e), e.RefusedBatch() && !p.whole:
		return answers(claimed, policy.Released, now, e), fmt.Errorf("%w: %w", errRefused, e)
	case e.Class == iotda.ClassPermission, e.Class == iotda.ClassAuth:
		p.circuit.refused()
	}
	return answers(claimed, policy.Released, now, e), e
}

// ofTargets tells whether the refusal may be of some of the targets that the call names.
func (p *post) ofTargets(err error) bool {
	return errors.Is(err, errRefused) && !p.whole && iotdaclient.AsError(err).RefusedBatch()
}

// note writes answers down.
func (p *post) note(answers []store.Answer) error {
	for _, a := range answers {
		if a.State == policy.Released {
			p.released = append(p.released, a.DeviceID)
		}
	}
	return p.write(p.kept, answers)
}

// ofTask tells whether a refusal is of the task and not of who asks: the gateway knows no
// tasks, and a right that is missing may be granted.
func ofTask(e *iotdaclient.Error) bool {
	switch e.Class {
	case iotda.ClassPermission, iotda.ClassNotFound, iotda.ClassRefused:
		return strings.HasPrefix(e.Code, "IOTDA.") && e.Code != "IOTDA.000021" && e.Code != "IOTDA.000034"
	}
	return false
}

// taken notes that the platform takes retries of the task.
func (t *taskSweep) taken(ctx context.Context) error {
	t.took.Store(true)
	k := t.known[t.task.ID]
	if k.Refusals == 0 {
		return nil
	}
	return t.ledger().RefuseTask(context.WithoutCancel(ctx), t.client.ProjectID(), t.task.ID, "")
}

// gatesAgain checks the gates once more after the claim. From the second call on the ledger's
// are among them, which the claim has looked at for the first.
func (p *post) gatesAgain() error {
	if err := p.gates(p.ctx, p.readAt); err != nil {
		return err
	}
	if p.calls++; p.calls == 1 {
		return nil
	}
	g, err := p.ledger().Gates(p.ctx, p.scope())
	if err == nil {
		err = g.Err()
	}
	return asGate(err)
}

// send sends one call, again only where it was throttled and all gates are still open. err is
// why it could not be sent, e what the platform said to the last one that was.
func (p *post) send(devices []string) (answer iotdaclient.RetryAnswer, e *iotdaclient.Error, err error) {
	pauses := p.client.Backoff().Start()
	gate := func() error { return p.gates(p.ctx, p.readAt) } // until the very write
	for {
		if err := p.gatesAgain(); err != nil {
			return answer, nil, err
		}
		p.countPost(p.task.ID)
		if p.whole {
			e = p.client.RetryAll(p.inFlight, p.task.ID, gate)
		} else {
			answer, e = p.client.RetryTask(p.inFlight, p.task.ID, devices, gate)
		}
		switch {
		case e != nil && e.Held():
			return answer, nil, e.Unwrap()
		case e == nil:
			p.noteAnswer(answer)
			p.circuit.answered()
			return answer, nil, nil
		case !e.NoEffect():
			p.circuit.unknown()
			return answer, e, nil
		case e.Class != iotda.ClassThrottled:
			return answer, e, nil
		}
		pause := pauses.NextBackOff()
		if pause < 0 { // max_elapsed
			return answer, e, nil
		}
		sleep(p.ctx, max(pause, e.RetryAfter))
		if err := p.client.Budget().Wait(p.ctx); err != nil {
			return answer, nil, err
		}
	}
}

// maxRefusedSingles is how many single targets may be refused, and none taken, before the
// refusal may be of the task and not of them. Then maxRefusedMore other parts of the call are
// tried: refused targets may stand side by side.
const maxRefusedSingles, maxRefusedMore = 3, 12

// halve finds the targets for which the platform refused a whole call: it divides the call
// until they stand alone. If no part of it is taken, it is the task that was refused.
func (p *post) halve(claimed []store.Claimed, e *iotdaclient.Error) error {
	if len(claimed) == 1 {
		return p.note(p.rejected(claimed, e))
	}
	d := &division{post: p}
	d.divide(claimed, e)
	for part := d.next(); part != nil; part = d.next() {
		answers, err := d.tryNext(part)
		switch {
		case err == nil:
			d.done = append(d.done, answers...)
		case p.ofTargets(err):
			d.divide(part, iotdaclient.AsError(err))
		default:
			return errors.Join(err, p.note(append(answers, d.rest(err)...)))
		}
	}
	if d.ofTask() {
		return p.refusedWhole(d.untaken(), d.why)
	}
	return errors.Join(p.note(append(d.done, d.singles()...)), p.taken(p.kept))
}

// division is a refused call that is being divided.
type division struct {
	*post
	parts   [][]store.Claimed  // to be sent, the last one next
	refused []store.Claimed    // each of them alone
	done    []store.Answer     // of the parts that were taken
	more    int                // parts sent since that many were refused
	why     *iotdaclient.Error // the last refusal
}

// next takes the part that is to be sent next, nil if it is enough.
func (d *division) next() []store.Claimed {
	if len(d.refused) >= maxRefusedSingles && len(d.done) == 0 && !d.took.Load() {
		if d.more++; d.more > maxRefusedMore {
			return nil
		}
		if len(d.parts) > 0 { // the largest
			d.parts = append(d.parts[1:], d.parts[0])
		}
	}
	last := len(d.parts) - 1
	if last < 0 {
		return nil
	}
	part := d.parts[last]
	d.parts = d.parts[:last]
	return part
}

// tryNext sends a part when the rate allows it.
func (d *division) tryNext(part []store.Claimed) ([]store.Answer, error) {
	if err := d.client.Budget().Wait(d.ctx); err != nil {
		return released(part, d.o.Store.Now(), err.Error()), err
	}
	return d.try(part)
}

// divide puts a refused part back as two, or aside if it is one target.
func (d *division) divide(part []store.Claimed, why *iotdaclient.Error) {
	d.why = why
	half := len(part) / 2
	if half == 0 {
		d.refused = append(d.refused, part...)
		return
	}
	d.parts = append(d.parts, part[half:], part[:half])
}

// ofTask tells whether it is the task that was refused, now that nothing more is sent: no part
// was taken. Where the platform has taken retries of the task before, it is the targets, if each
// of them was refused; where it has done so in this sweep, it is in any case.
func (d *division) ofTask() bool {
	return len(d.done) == 0 && !d.took.Load() && (len(d.parts) > 0 || !d.known[d.task.ID].Attempted)
}

// untaken are the claims that no call has used.
func (d *division) untaken() []store.Claimed {
	return append(d.refused, slices.Concat(d.parts...)...)
}

// singles are the attempts of targets that were refused alone.
func (d *division) singles() []store.Answer { return d.rejected(d.refused, d.why) }

// rest is what is written down where the dividing ends before its time: what was taken, and
// nothing of the others. Targets that were refused alone are that only where another was not.
func (d *division) rest(err error) []store.Answer {
	why := err.Error()
	if errors.Is(err, errUnknown) {
		why = "the call before it had no answer"
	}
	if len(d.done) == 0 {
		return released(d.untaken(), d.o.Store.Now(), why)
	}
	return slices.Concat(d.done, d.singles(), released(slices.Concat(d.parts...), d.o.Store.Now(), why))
}

// rejected are attempts of targets for which alone the platform refuses the call.
func (p *post) rejected(claimed []store.Claimed, e *iotdaclient.Error) []store.Answer {
	out := answers(claimed, policy.Rejected, p.o.Store.Now(), e)
	for i := range out {
		out[i].Refused = true
		out[i].Cause = p.p.CauseOf(policy.Facts{Record: policy.Record{State: policy.Rejected, RejectCode: e.Code, RejectText: out[i].Text, Refused: true}})
	}
	return out
}

// refusedWhole takes the attempts back, and notes that the task was refused as it stands:
// once in a run, however many calls were in flight.
func (p *post) refusedWhole(claimed []store.Claimed, e *iotdaclient.Error) error {
	p.log.Warn("the platform refuses to retry the task", zap.String("task", p.task.ID), zap.String("task_name", p.task.Name), zap.Error(e))
	err := errors.Join(fmt.Errorf("%w: %w", errRefused, e), p.note(answers(claimed, policy.Released, p.o.Store.Now(), e)))
	if p.refused.Swap(true) {
		return err
	}
	return errors.Join(err, p.ledger().RefuseTask(context.WithoutCancel(p.kept), p.client.ProjectID(), p.task.ID, standing(p.now())))
}

func devicesOf(claimed []store.Claimed) []string {
	devices := make([]string, len(claimed))
	for i, c := range claimed {
		devices[i] = c.DeviceID
	}
	return devices
}

func answers(claimed []store.Claimed, state policy.State, now time.Time, e *iotdaclient.Error) []store.Answer {
	out := make([]store.Answer, len(claimed))
	for i, c := range claimed {
		out[i] = store.Answer{Claimed: c, State: state, AnsweredAt: now, Code: e.Code, Text: iotda.Clip(e.Error(), 300), RequestID: e.RequestID}
	}
	return out
}

func released(claimed []store.Claimed, now time.Time, why string) []store.Answer {
	out := make([]store.Answer, len(claimed))
	for i, c := range claimed {
		out[i] = store.Answer{Claimed: c, State: policy.Released, AnsweredAt: now, Text: "not sent: " + why}
	}
	return out
}

func (t *taskSweep) answered(claimed []store.Claimed, answer iotdaclient.RetryAnswer, now time.Time) []store.Answer {
	states := map[iotdaclient.Result]policy.State{
		iotdaclient.Accepted: policy.Accepted, iotdaclient.Rejected: policy.Rejected, iotdaclient.Unknown: policy.Unknown,
	}
	out := make([]store.Answer, len(claimed))
	for i, c := range claimed {
		a := answer.Targets[c.DeviceID]
		out[i] = store.Answer{Claimed: c, State: states[a.Result], AnsweredAt: now, Code: a.Code, Text: a.Text}
		if a.Result == iotdaclient.Rejected {
			out[i].Cause = t.p.Cause(a.Code, a.Text)
		}
	}
	return out
}
