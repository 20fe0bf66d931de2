package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"retryd/internal/policy"
)

// mostNamed is how many devices an action names; it counts the others.
const mostNamed = 5

// devicesIn names devices of a task, the first few of many.
func devicesIn(taskID string, devices []string) string {
	n := len(devices)
	switch {
	case n == 1:
		return "device " + devices[0] + " in task " + taskID
	case n > mostNamed:
		return fmt.Sprintf("%d targets in task %s: %s and %d more", n, taskID, strings.Join(devices[:mostNamed], ", "), n-mostNamed)
	}
	return fmt.Sprintf("%d targets in task %s: %s", n, taskID, strings.Join(devices, ", "))
}

const nothingSent = "nothing sent: "

// cameTo writes beside the action that asked for retries what they have come to: a request is kept for a
// while, and an action for good.
func (r Request) cameTo(ctx context.Context, tx *tx, words string) error {
	if r.Kind != RetryRequest {
		return nil
	}
	_, err := tx.ExecContext(ctx, `UPDATE actions SET outcome = ? WHERE project_id = ? AND task_id = ? AND task_id <> '' AND request = ?`,
		words, r.ProjectID, r.TaskID, r.ID)
	if err != nil {
		return fmt.Errorf("write what came of request %d: %w", r.ID, err)
	}
	return nil
}

// words says what came of retries: how many targets were sent, by answer, and why one was refused or left.
func (r Request) words(ctx context.Context, q queryer) (string, error) {
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(r.Result.Sent)) {
		part := fmt.Sprintf("%d %s", r.Result.Sent[state], state)
		if state == string(policy.Rejected) {
			why, err := r.refusal(ctx, q)
			if err != nil {
				return "", err
			}
			part += why
		}
		parts = append(parts, part)
	}
	left := r.Result.leftAs()
	switch {
	case len(parts) == 0:
		return nothingSent + cmp.Or(left, "the task has no failed target"), nil
	case left != "":
		parts = append(parts, "not sent: "+left)
	}
	return strings.Join(parts, ", "), nil
}

// leftAs says why targets were left, or all of them: what went wrong, else by which verdict.
func (o Outcome) leftAs() string {
	if len(o.Problems) > 0 {
		return o.Problems[0]
	}
	var verdicts []string
	all := 0
	for _, reason := range slices.Sorted(maps.Keys(o.Targets)) {
		if n := o.Targets[reason]; reason != string(policy.Due) {
			verdict := fmt.Sprintf("%d %s", n, reason)
			if reason == string(policy.Capped) && len(o.Capped) > 0 {
				verdict += " by " + strings.Join(slices.Sorted(maps.Keys(o.Capped)), ", ")
			}
			verdicts, all = append(verdicts, verdict), all+n
		}
	}
	switch {
	case len(o.Left) > 0 && len(verdicts) == 1: // of one verdict the first says it
		return withDetail(verdicts[0], o.Left[0].Detail)
	case all == 0 && len(verdicts) == 1: // the task as a whole
		return strings.TrimPrefix(verdicts[0], "0 ")
	}
	return strings.Join(verdicts, ", ")
}

func withDetail(text, detail string) string {
	if detail == "" {
		return text
	}
	return text + " (" + detail + ")"
}

// refusal gives the platform's words for one of the targets that it did not take.
func (r Request) refusal(ctx context.Context, q queryer) (string, error) {
	var code, text string
	err := q.QueryRowContext(ctx, `SELECT code, text FROM attempts WHERE project_id = ? AND task_id = ? AND claimed_at >= ? AND asked_by = ? AND state = 'rejected'
		ORDER BY claimed_at LIMIT 1`, r.ProjectID, r.TaskID, micros(r.TakenAt), r.Who).Scan(&code, &text)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read why a target was refused: %w", err)
	}
	return " (" + strings.TrimSpace(code+" "+text) + ")", nil
}
