package scheduler

import (
	"context"
	"errors"
	"fmt"
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

// call sends claimed attempts and writes down what came of them.
func (t *taskSweep) call(program, ctx context.Context, claimed []store.Claimed, readAt time.Time) error {
	inFlight, cancel := stopping(program)
	defer cancel()
	p := &post{taskSweep: t, inFlight: inFlight, ctx: ctx, readAt: readAt}
	answer, e, err := p.send(devicesOf(claimed), false)
	now := t.o.Store.Now()
	switch {
	case err != nil:
		return errors.Join(err, t.write(inFlight, released(claimed, now, err.Error())))
	case e == nil:
		return errors.Join(t.write(inFlight, t.answered(claimed, answer, now)), t.taken(inFlight))
	case !e.NoEffect():
		return errors.Join(fmt.Errorf("%w: %w", errUnknown, e), t.write(inFlight, answers(claimed, policy.Unknown, now, e)))
	case e.RefusedBatch():
		return p.halve(claimed, e)
	case ofTask(e):
		return p.refusedWhole(claimed, e)
	case e.Class == iotda.ClassPermission, e.Class == iotda.ClassAuth:
		t.circuit.refused()
	}
	return errors.Join(e, t.write(inFlight, answers(claimed, policy.Released, now, e)))
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
	k := t.known[t.task.ID]
	if k.Refusals == 0 {
		return nil
	}
	return t.o.Store.RefuseTask(context.WithoutCancel(ctx), t.client.ProjectID(), t.task.ID, "")
}

// post is one retry call, or the several that a refused one is divided into.
type post struct {
	*taskSweep
	inFlight, ctx context.Context
	readAt        time.Time
	calls         int // under the claim
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
	g, err := p.o.Store.Gates(p.ctx, p.scope())
	if err == nil {
		err = g.Err()
	}
	return asGate(err)
}

// send sends one call, again only where it was throttled and all gates are still open. err is
// why it could not be sent, e what the platform said to the last one that was. whole sends
// no names: it re-runs the whole task.
func (p *post) send(devices []string, whole bool) (answer iotdaclient.RetryAnswer, e *iotdaclient.Error, err error) {
	pauses := p.client.Backoff().Start()
	gate := func() error { return p.gates(p.ctx, p.readAt) } // until the very write
	for {
		if err := p.gatesAgain(); err != nil {
			return answer, nil, err
		}
		p.countPost(p.task.ID)
		if whole {
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
		return p.write(p.inFlight, p.rejected(claimed, e))
	}
	var done []store.Answer
	var refused []store.Claimed
	anyTaken, more := false, 0
	parts := [][]store.Claimed{claimed[len(claimed)/2:], claimed[:len(claimed)/2]}
	rest := func(why string) []store.Answer {
		now := p.o.Store.Now()
		left := released(refused, now, why)
		if anyTaken { // each of them stood alone, and it was not the task
			left = p.rejected(refused, e)
		}
		for _, part := range parts {
			left = append(left, released(part, now, why)...)
		}
		return append(done, left...)
	}
	for len(parts) > 0 {
		if len(refused) >= maxRefusedSingles && !anyTaken {
			if more++; more > maxRefusedMore {
				break
			}
			parts = append(parts[1:], parts[0]) // the largest next
		}
		part := parts[len(parts)-1]
		if err := p.client.Budget().Wait(p.ctx); err != nil {
			return errors.Join(err, p.write(p.inFlight, rest(err.Error())))
		}
		answer, now, err := p.sendPart(part)
		if err == nil {
			parts, anyTaken = parts[:len(parts)-1], true
			done = append(done, p.answered(part, answer, now)...)
			continue
		}
		again := iotdaclient.AsError(err)
		switch {
		case again == nil || (!again.RefusedBatch() && again.NoEffect()):
			if again != nil && ofTask(again) {
				err = fmt.Errorf("%w: %w", errRefused, again)
			}
			return errors.Join(err, p.write(p.inFlight, rest(err.Error())))
		case !again.NoEffect():
			parts = parts[:len(parts)-1]
			done = append(done, answers(part, policy.Unknown, now, again)...)
			return errors.Join(fmt.Errorf("%w: %w", errUnknown, again), p.write(p.inFlight, rest("the call before it had no answer")))
		case len(part) == 1:
			parts, refused, e = parts[:len(parts)-1], append(refused, part[0]), again
		default:
			parts = append(parts[:len(parts)-1], part[len(part)/2:], part[:len(part)/2])
		}
	}
	// Where the platform has taken retries of the task before, it is the targets.
	if !anyTaken && (len(parts) > 0 || !p.known[p.task.ID].Attempted) {
		all := refused
		for _, part := range parts {
			all = append(all, part...)
		}
		return p.refusedWhole(all, e)
	}
	return errors.Join(p.write(p.inFlight, append(done, p.rejected(refused, e)...)), p.taken(p.inFlight))
}

func (p *post) sendPart(part []store.Claimed) (iotdaclient.RetryAnswer, time.Time, error) {
	answer, e, err := p.send(devicesOf(part), false)
	if err == nil && e != nil {
		err = e
	}
	return answer, p.o.Store.Now(), err
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
	err := errors.Join(fmt.Errorf("%w: %w", errRefused, e), p.write(p.inFlight, answers(claimed, policy.Released, p.o.Store.Now(), e)))
	if p.refused.Swap(true) {
		return err
	}
	return errors.Join(err, p.o.Store.RefuseTask(context.WithoutCancel(p.inFlight), p.client.ProjectID(), p.task.ID, standing(p.task)))
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
