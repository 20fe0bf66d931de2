package web

import (
	"context"
	"time"

	"retryd/internal/policy"
	"retryd/internal/store"
)

func (s *server) recovery(ctx context.Context, since time.Time) (Recovery, error) {
	rows, err := s.allTasks(ctx)
	if err != nil {
		return Recovery{}, err
	}
	return s.recoveryOf(ctx, since, rows)
}

// recoveryOf sums up outcomes since a moment, and all that the tasks ever came to.
func (s *server) recoveryOf(ctx context.Context, since time.Time, tasks []store.TaskRow) (Recovery, error) {
	rows, err := s.Store.Hours(ctx, since)
	if err != nil {
		return Recovery{}, err
	}
	out := Recovery{Since: since.UTC(), Ends: map[string]int{}, Needed: []Needed{}, Hours: []Hour{}}
	needed := map[int]int{}
	for _, row := range rows { // the oldest first
		if n := len(out.Hours); n == 0 || !out.Hours[n-1].Hour.Equal(row.Hour) {
			out.Hours = append(out.Hours, Hour{Hour: row.Hour, Ends: map[string]int{}})
		}
		out.Hours[len(out.Hours)-1].Ends[row.Outcome] += row.Count
		out.Ends[row.Outcome] += row.Count
		if row.Outcome == string(policy.Recovered) {
			needed[row.N] += row.Count
		}
	}
	for n := 0; len(needed) > 0; n++ {
		if count, some := needed[n]; some {
			out.Needed = append(out.Needed, Needed{n, count})
			delete(needed, n)
		}
	}
	out.PlatformShare, out.Share = shares(tasks)
	return out, nil
}

// shares gives which part of all sub-tasks the platform brought to success, and which part has
// come to it; nil where there are none. What was retried and has succeeded is open until it is seen: of the open
// attempts, as many as are not in motion on the platform count as retryd's.
func shares(tasks []store.TaskRow) (platform, all *float64) {
	total, success, ours := 0, 0, 0
	for _, t := range tasks {
		total, success = total+t.Total, success+t.Success
		motion := max(t.Total-t.Success-t.Fail, 0)
		ours += min(t.Ended[string(policy.Recovered)]+max(t.Open-motion, 0), t.Success)
	}
	if total == 0 {
		return nil, nil
	}
	a, b := float64(success-ours)/float64(total), float64(success)/float64(total)
	return &a, &b
}
