package emulator

import (
	"container/heap"
	"time"

	"retryd/internal/iotda"
)

// turns are the moments at which re-runs go on, the earliest first: a task of 30,000 re-runs is
// looked at for every call, and most often none of them has come to its moment.
type turns []turn

type turn struct {
	at  time.Time
	of  *subtask
	run int // which of its re-runs; one that was ended before its time has no turn any more
}

func (t *turns) add(s *subtask, at time.Time) { heap.Push(t, turn{at, s, s.retries}) }

// advance lets re-runs whose time has come go on.
func (t *task) advance(now time.Time) {
	for len(t.turns) > 0 && !now.Before(t.turns[0].at) {
		next := heap.Pop(&t.turns).(turn)
		s := next.of
		switch {
		case !s.moving || s.retries != next.run:
		case !now.Before(s.until):
			s.moving = false
			t.set(s, s.outcome())
		default:
			t.set(s, iotda.SubtaskProcessing)
			t.turns.add(s, s.until)
		}
	}
}

// note keeps count of the tasks in which a device is in motion.
func (t *task) note(device string, status iotda.SubtaskStatus, by int) {
	if !status.InMotion() {
		return
	}
	if t.motion[device] += by; t.motion[device] == 0 {
		delete(t.motion, device)
	}
}

// Len, Less, Swap, Push and Pop are what container/heap asks for.
func (t turns) Len() int           { return len(t) }
func (t turns) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t turns) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }

// Push adds a turn at the end.
func (t *turns) Push(x any) { *t = append(*t, x.(turn)) }

// Pop takes the last one.
func (t *turns) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}
