package iotdaclient

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"retryd/internal/iotda"
)

// MaxWavePages is the most pages of one wave: a marker reaches to offset 500.
const MaxWavePages = iotda.MaxOffset/iotda.MaxPageSize + 1

// Wave is what was read of a task in one go: up to MaxWavePages pages from one marker.
type Wave struct {
	Task     iotda.Task // as the page begun last shows it
	First    iotda.Progress
	Subtasks []iotda.Subtask // in the platform's order, each target once
	Begun    time.Time       // start of the earliest request
	Next     string          // marker of the next wave
	End      bool            // there is no next wave
	Doubles  int             // rows whose target the same page had already
	Uneven   bool            // a page had more rows than it can have, or an inner one fewer: some may be missing, and others foreign
}

// Wave reads up to pages pages of the sub-tasks that q selects, from a marker on. The
// first page tells how many more there can be; those are read at the same time.
func (c *Client) Wave(ctx context.Context, taskID string, q Query, marker string, pages int) (Wave, error) {
	first, err := c.Subtasks(ctx, taskID, q, marker, 0)
	if err != nil {
		return Wave{}, err
	}
	all := []SubtaskPage{first}
	if len(first.Subtasks) >= iotda.MaxPageSize {
		rows := first.Task.Progress.Of(q.Status)
		if q.Status == "" {
			rows = first.Task.Progress.Total
		}
		more := min(pages, MaxWavePages, (rows+iotda.MaxPageSize-1)/iotda.MaxPageSize) - 1
		rest, err := c.pages(ctx, taskID, q, marker, more)
		if err != nil {
			return Wave{}, err
		}
		all = append(all, rest...)
	}
	return c.join(marker, all)
}

func (c *Client) pages(ctx context.Context, taskID string, q Query, marker string, n int) ([]SubtaskPage, error) {
	rest := make([]SubtaskPage, max(n, 0))
	g, ctx := errgroup.WithContext(ctx)
	for i := range rest {
		g.Go(func() (err error) {
			rest[i], err = c.Subtasks(ctx, taskID, q, marker, (i+1)*iotda.MaxPageSize)
			return err
		})
	}
	return rest, g.Wait()
}

// join makes a wave of its pages. The list ends when the page with the highest offset
// is short; where an inner page was short too, rows moved while they were read, and one
// more read, from the lowest marker, confirms the end.
func (c *Client) join(marker string, all []SubtaskPage) (Wave, error) {
	w := Wave{First: all[0].Task.Progress, Begun: all[0].Begun}
	seen := map[string]bool{}
	newest, innerShort := all[0].Begun, false
	var markers []string // of the pages that have any rows
	for i, page := range all {
		short := len(page.Subtasks) < iotda.MaxPageSize
		w.Uneven = w.Uneven || len(page.Subtasks) > iotda.MaxPageSize || short && i < len(all)-1
		if i == len(all)-1 {
			w.End = short && !innerShort
		} else {
			innerShort = innerShort || short
		}
		if page.Begun.Before(w.Begun) {
			w.Begun = page.Begun
		}
		if !page.Begun.Before(newest) {
			newest, w.Task = page.Begun, page.Task
		}
		if len(page.Subtasks) > 0 {
			markers = append(markers, page.Marker)
		}
		w.add(page, seen)
	}
	if len(w.Subtasks) == 0 {
		w.End = true
	}
	if w.End {
		return w, nil
	}
	if marker == "" {
		marker = iotda.FirstMarker
	}
	var err error
	w.Next, err = c.following(opShow, marker, slices.Min(markers))
	return w, err
}

func (w *Wave) add(page SubtaskPage, seen map[string]bool) {
	own := map[string]bool{}
	for _, s := range page.Subtasks {
		if own[s.Target] {
			w.Doubles++
		}
		own[s.Target] = true
		if !seen[s.Target] {
			seen[s.Target] = true
			w.Subtasks = append(w.Subtasks, s)
		}
	}
}

// WavePages gives how many pages one wave may have so that reading it and retrying all
// of it fits the rate within 15 seconds: then no row is older than 30 when it is sent.
func (c *Client) WavePages() int {
	const seconds, callsPerPage = 15, 1.5 // the page, and half a retry call for its 50 rows
	return max(1, min(MaxWavePages, int(c.o.Budget.PerSecond()*seconds/callsPerPage)))
}
