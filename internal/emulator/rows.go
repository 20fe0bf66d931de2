package emulator

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"retryd/internal/iotda"
)

// disturb is what the call's fault does to the lists before they are read.
func (e *Emulator) disturb(c Call) url.Values {
	query := c.Query
	switch c.Fault {
	case FaultShortPage:
		if p, bad := paging(query); bad == nil {
			query = url.Values{}
			for name, values := range c.Query {
				query[name] = values
			}
			query.Set("limit", strconv.Itoa(max(1, p.limit/2)))
		}
	case FaultRowsMove:
		if t := e.tasks[c.TaskID]; t != nil && query.Get("target") == "" {
			e.moveRows(t, iotda.SubtaskStatus(query.Get("task_detail_status")))
		}
	case FaultRowsEnter:
		if t := e.tasks[c.TaskID]; t != nil {
			t.hasten(cmp.Or(query.Get("marker"), iotda.FirstMarker))
		}
	}
	return query
}

// moveRows takes some rows of a state from the lower half of the list to its beginning, where
// whoever pages has been already, and some from the upper half to the end, where they come again.
func (e *Emulator) moveRows(t *task, status iotda.SubtaskStatus) {
	var rows []*subtask
	for _, s := range t.rows {
		if status == "" || s.Status == status {
			rows = append(rows, s)
		}
	}
	half := len(rows) / 2
	for range min(half, 3) {
		rows[half+e.rand.IntN(len(rows)-half)].rowID = e.id()
		e.lastID--
		rows[e.rand.IntN(half)].rowID = fmt.Sprintf("%016x%08x", e.lastID, e.rand.Uint32())
	}
	slices.SortFunc(t.rows, func(a, b *subtask) int { return cmp.Compare(b.rowID, a.rowID) })
}

// hasten ends what is in motion below a marker, as its fate has it.
func (t *task) hasten(marker string) {
	for _, s := range t.after(marker) {
		if s.Status.InMotion() {
			t.set(s, s.outcome())
			s.moving = false
		}
	}
}
