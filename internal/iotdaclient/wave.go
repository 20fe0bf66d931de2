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

// From is where a wave begins.
type From struct {
	Marker string // of the wave before; empty = at the beginning
	Rows   int    // how many rows to expect from there on; 0 = not known
}

// Wave is what was read of a task in one go: up to MaxWavePages pages from one marker.
type Wave struct {
	Task     iotda.Task      // as the page begun last shows it
	First    iotda.Progress  // as the page begun first shows it
	Subtasks []iotda.Subtask // in the platform's order, each target once
	Begun    time.Time       // start of the earliest request
	Next     string          // marker of the next wave
	Left     int             // rows to expect of the next wave and those after it; 0 = not known
	End      bool            // there is no next wave
	Doubles  int             // rows whose target the same page had already
	Uneven   bool            // a page had more rows than it can have, or one before another fewer: some may be missing, and others foreign
}

// Wave reads up to pages pages of the sub-tasks that q selects. All pages that are expected to have
// rows, and the short one that ends the list, are read at the same time. Where nothing is known of the rows, the
// first page tells, and the others are read after it. Too much expected costs the empty pages beyond the
// end; too little, another wave.
func (c *Client) Wave(ctx context.Context, taskID string, q Query, from From, pages int) (Wave, error) {
	pages = min(pages, MaxWavePages)
	all, err := c.pages(ctx, taskID, q, from.Marker, 0, min(pages, pagesOf(from.Rows)))
	if err != nil {
		return Wave{}, err
	}
	if first := all[0]; from.Rows <= 0 && len(first.Subtasks) >= iotda.MaxPageSize {
		rest, err := c.pages(ctx, taskID, q, from.Marker, 1, min(pages, pagesOf(q.rows(first.Task.Progress))))
		if err != nil {
			return Wave{}, err
		}
		all = append(all, rest...)
	}
	w, err := c.join(from.Marker, all)
	rows := q.rows(w.Task.Progress)
	if from.Marker == "" { // so it is all of them, whatever was expected
		from.Rows = rows
	}
	w.Left = max(0, min(from.Rows-len(w.Subtasks), rows))
	return w, err
}

// pagesOf gives how many pages there are with the one that ends the list, which has less than a full
// page's rows, or none.
func pagesOf(rows int) int { return max(rows, 0)/iotda.MaxPageSize + 1 }

// rows gives how many rows a query has at most, by a task's progress.
func (q Query) rows(p iotda.Progress) int {
	switch {
	case q.Target != "":
		return 1
	case q.Status != "":
		return p.Of(q.Status)
	}
	return p.Total
}

// pages reads the pages from one to before another.
func (c *Client) pages(ctx context.Context, taskID string, q Query, marker string, from, to int) ([]SubtaskPage, error) {
	pages := make([]SubtaskPage, max(to-from, 0))
	g, ctx := errgroup.WithContext(ctx)
	for i := range pages {
		g.Go(func() (err error) {
			pages[i], err = c.Subtasks(ctx, taskID, q, marker, (from+i)*iotda.MaxPageSize)
			return err
		})
	}
	return pages, g.Wait()
}

// join makes a wave of its pages. The list ends where the last page that has rows is short, or has an
// empty one after it; where one before it was short too, rows moved while they were read, and one
// more read, from the lowest marker, confirms the end.
func (c *Client) join(marker string, all []SubtaskPage) (Wave, error) {
	first, newest, last := all[0], all[0], 0
	for i, page := range all {
		if page.Begun.Before(first.Begun) {
			first = page
		}
		if !page.Begun.Before(newest.Begun) {
			newest = page
		}
		if len(page.Subtasks) > 0 {
			last = i
		}
	}
	w := Wave{Task: newest.Task, First: first.Task.Progress, Begun: first.Begun}
	w.End = last < len(all)-1 || len(all[last].Subtasks) < iotda.MaxPageSize
	seen := map[string]bool{}
	var markers []string // of the pages that have any rows
	for i, page := range all[:last+1] {
		short := i < last && len(page.Subtasks) < iotda.MaxPageSize
		w.Uneven = w.Uneven || short || len(page.Subtasks) > iotda.MaxPageSize
		w.End = w.End && !short
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

// PagesAhead gives how many pages may be read and not yet retried, so that reading and retrying them
// fits the rate within 15 seconds: then no row is older than 30 when it is sent.
func (c *Client) PagesAhead() int {
	const seconds, callsPerPage = 15, 1.5 // the page, and half a retry call for its 50 rows
	return max(1, int(min(c.o.Budget.PerSecond()*seconds/callsPerPage, 1e6)))
}

// WavePages gives how many pages one wave may have.
func (c *Client) WavePages() int { return min(MaxWavePages, c.PagesAhead()) }
