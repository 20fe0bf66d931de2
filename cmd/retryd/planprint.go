package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"retryd/internal/policy"
	"retryd/internal/scheduler"
)

// print writes the plan in one of the three forms; whole tells whether everything could be read.
func (p *plan) print(w io.Writer, format string, reports []scheduler.Report, whole bool) error {
	switch format {
	case "json":
		return writeJSON(w, map[string]any{"whole": whole, "targets": inJSON(p.sorted()), "not_shown": p.hidden, "sweeps": reportsInJSON(reports)})
	case "csv":
		return writeCSV(w, planColumns, p.sorted(), planRow.cells)
	}
	p.table(w, whole)
	printReports(w, reports, "")
	return nil
}

// failureWidth keeps a row on a wide screen.
const failureWidth = 60

func (p *plan) table(w io.Writer, whole bool) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	printf(t, "POLICY\tCONNECTION\tTASK\tDEVICE\tVERDICT\tDETAIL\tNOT BEFORE\tFAILED WITH\n")
	for _, r := range p.sorted() {
		printf(t, "%s\n", r.line())
	}
	_ = t.Flush() // a reader who has gone misses nothing
	if len(p.rows) == 0 && whole {
		printf(w, "(nothing is due)\n")
	}
	if !whole {
		printf(w, "(not everything could be read: there may be more)\n")
	}
	for _, limit := range slices.Sorted(maps.Keys(p.capped)) {
		printf(w, "(%s more due, held back by %s)\n", plural(p.capped[limit], "target"), shown(limit))
	}
	if text := p.notShown(); text != "" {
		printf(w, "(not shown: %s; --all shows them)\n", text)
	}
}

func (r planRow) line() string {
	return strings.Join([]string{
		r.Policy, r.Connection, r.Task, shown(r.name()), string(r.Verdict.Reason), shown(r.Verdict.Detail),
		cmp.Or(stamp(r.Verdict.NotBefore), "-"), cmp.Or(shown(r.failure(failureWidth)), "-"),
	}, "\t")
}

// notShown sums up the targets that are not in the table; those that a limit holds back have a line of
// their own.
func (p *plan) notShown() string {
	n := maps.Clone(p.hidden)
	var parts []string
	take := func(what string, reasons ...policy.Reason) {
		sum := 0
		for _, reason := range reasons {
			sum += n[reason]
			delete(n, reason)
		}
		if sum > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", sum, what))
		}
	}
	take("in flight", policy.InFlight)
	take("resting after a failure, the first until "+stamp(p.until), policy.InBackoff)
	take("given up", policy.Permanent, policy.Exhausted, policy.Expired)
	for _, reason := range policy.Reasons() {
		if reason != policy.Capped {
			take(string(reason), reason)
		}
	}
	return strings.Join(parts, ", ")
}

// shown makes a text that somebody else chose safe for a terminal: what could move the cursor or
// colour the screen is written as an escape.
func shown(text string) string {
	quoted := strconv.Quote(text)
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(quoted[1 : len(quoted)-1])
}

// planColumns are those of the CSV, and the keys of the JSON.
var planColumns = []string{
	"policy", "connection", "task", "task_name", "device", "targets", "verdict", "detail", "not_before", "attempt", "state", "since", "error_code", "error",
}

func (r planRow) cells() []string {
	attempt := ""
	if r.Attempt > 0 {
		attempt = strconv.Itoa(r.Attempt)
	}
	return []string{
		r.Policy, r.Connection, r.Task, r.TaskName, r.Device, strconv.Itoa(r.Targets), string(r.Verdict.Reason), r.Verdict.Detail,
		stamp(r.Verdict.NotBefore), attempt, string(r.State), stamp(r.Since), r.Code, r.Text,
	}
}

// inJSON gives rows as objects, with what has no value left out.
func inJSON(rows []planRow) []map[string]any {
	out := make([]map[string]any, len(rows))
	for i, r := range rows {
		out[i] = r.object()
	}
	return out
}

func (r planRow) object() map[string]any {
	m := map[string]any{}
	for i, cell := range r.cells() {
		if cell != "" {
			m[planColumns[i]] = cell
		}
	}
	m["targets"] = r.Targets
	if r.Attempt > 0 {
		m["attempt"] = r.Attempt
	}
	return m
}

func reportsInJSON(reports []scheduler.Report) []map[string]any {
	out := make([]map[string]any, len(reports))
	for i, r := range reports {
		problems := make([]string, len(r.Problems))
		for j, problem := range r.Problems {
			if problems[j] = problem.Error(); errors.Is(problem, context.Canceled) {
				problems[j] = "interrupted"
			}
		}
		out[i] = map[string]any{
			"policy": r.Policy, "connection": r.Connection, "result": r.Result, "tasks": r.Tasks, "targets": r.Counts, "problems": problems, "seconds": r.Duration.Seconds(),
		}
	}
	return out
}

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// writeCSV writes rows for a spreadsheet, or a terminal. A text that a device or a person chose begins with no
// character that has it read as a formula.
func writeCSV[R any](w io.Writer, columns []string, rows []R, cells func(R) []string) error {
	c := csv.NewWriter(w)
	_ = c.Write(columns) // Error tells
	for _, r := range rows {
		line := cells(r)
		for i, text := range line {
			if line[i] = shown(text); strings.ContainsAny(text[:min(1, len(text))], "=+-@") && len(text) > 1 {
				line[i] = "'" + line[i]
			}
		}
		_ = c.Write(line)
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
