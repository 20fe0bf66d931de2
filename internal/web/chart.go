package web

import (
	"fmt"
	"strconv"
	"time"
)

// chart is a drawing that a template makes an SVG of, and the table that says the same. Across, it
// goes by percents, so that it has the width that there is; down, it goes by pixels, so that text
// keeps its size.
type chart struct {
	ID, Title, Desc string
	Columns         []column
	Lines           []line
	Across          []label
	Down            []label // lines of the grid
	Keys            []key
	Head            []string
	Rows            [][]string
}

// Empty tells whether there is nothing to draw.
func (c chart) Empty() bool { return len(c.Columns) == 0 && len(c.Lines) == 0 }

// column is one place of a chart of bars; its parts stand on each other.
type column struct {
	Words string
	Parts []rect
}

type rect struct {
	Class string
	X, W  string // percents
	Y, H  string // pixels
}

// line goes through points of a square of 1000 by 1000.
type line struct{ Class, Points string }

type label struct {
	At     string
	Text   string
	Anchor string
	Spare  bool // left out where there is little room
}

type key struct{ Class, Name string }

// The part of a chart's height in which bars and lines are, from its top.
const (
	chartTop    = 16
	chartHeight = 132
	sparkHeight = 32
)

// series is a kind of thing that is counted in each column.
type series struct {
	key
	of []string // the outcomes that it sums up
}

// outcomes are what attempts come to, the best first.
func outcomes() []series {
	return []series{
		{key{"success", "recovered"}, []string{"recovered"}},
		{key{"waiting", "failed again"}, []string{"failed", "rejected"}},
		{key{"other", "no outcome"}, []string{"gone"}},
	}
}

// bucket is what came of retries in a step of time.
type bucket struct {
	at   time.Time
	ends map[string]int
}

func (b bucket) sum(names ...string) (n int) {
	for _, name := range names {
		n += b.ends[name]
	}
	return n
}

// buckets sums hours up to steps; there is one for each step until now.
func buckets(r Recovery, step time.Duration, now time.Time) (list []bucket) {
	first := r.Since.UTC().Truncate(step)
	for at := first; at.Before(now); at = at.Add(step) {
		list = append(list, bucket{at, map[string]int{}})
	}
	for _, hour := range r.Hours {
		if i := int(hour.Hour.Sub(first) / step); i >= 0 && i < len(list) {
			for name, n := range hour.Ends {
				list[i].ends[name] += n
			}
		}
	}
	return list
}

// sparkline draws how many recovered, in steps of six hours.
func sparkline(r Recovery, now time.Time) chart {
	if r.Since.IsZero() || r.Ends["recovered"] == 0 {
		return chart{}
	}
	const step = 6 * time.Hour
	list := buckets(r, step, now)
	most := 1
	for _, b := range list {
		most = max(most, b.ends["recovered"])
	}
	c := chart{ID: "spark", Title: "Recovered in the last 7 days, in steps of 6 hours", Desc: fmt.Sprintf("At most %d in 6 hours.", most)}
	for i, b := range list {
		n := b.ends["recovered"]
		height := float64(n) / float64(most) * sparkHeight
		c.Columns = append(c.Columns, column{
			Words: fmt.Sprintf("%s: %d", b.at.Format("Mon 2 Jan 15:04"), n),
			Parts: []rect{{"success", share(i, len(list)), percents(0.8 / float64(len(list))), pixels(sparkHeight - height), pixels(height)}},
		})
	}
	return c
}

// recoveryChart draws what attempts came to over time: by hours for two days, then by six hours for
// a week, then by days.
func recoveryChart(r Recovery, now time.Time) chart {
	step, layout, every := time.Hour, "Mon 15:04", 6
	switch over := now.Sub(r.Since); {
	case over > 8*24*time.Hour:
		step, layout, every = 24*time.Hour, "2 Jan", 7
	case over > 49*time.Hour:
		step, layout, every = 6*time.Hour, "Mon 2 Jan", 4
	}
	list := buckets(r, step, now)
	most := 0
	for _, b := range list {
		n := 0
		for _, s := range outcomes() {
			n += b.sum(s.of...)
		}
		most = max(most, n)
	}
	if most == 0 {
		return chart{}
	}
	most = nice(most)
	c := chart{
		ID: "over", Title: "What attempts came to over time", Down: grid(most), Head: []string{"From (UTC)"},
		Desc: fmt.Sprintf("Stacked bars, one for each %s: %d recovered, %d failed again or were rejected, %d had no outcome.",
			lasting(step), r.Ends["recovered"], r.Ends["failed"]+r.Ends["rejected"], r.Ends["gone"]),
	}
	for _, s := range outcomes() {
		c.Keys, c.Head = append(c.Keys, s.key), append(c.Head, s.Name)
	}
	c.Head = append(c.Head, "targets given up")
	for i, b := range list {
		col := column{Words: b.at.Format("Mon 2 Jan 15:04")}
		row := []string{b.at.Format("2 Jan 15:04")}
		under := 0
		for _, s := range outcomes() {
			n := b.sum(s.of...)
			row = append(row, number(n))
			if n > 0 {
				col.Words += fmt.Sprintf(", %d %s", n, s.Name)
				col.Parts = append(col.Parts, bar(s.Class, i, len(list), under, n, most))
			}
			under += n
		}
		c.Columns = append(c.Columns, col)
		if lost := b.sum("exhausted", "permanent", "expired"); under+lost > 0 {
			c.Rows = append(c.Rows, append(row, number(lost)))
		}
		if i%every == 0 && i < len(list)-every/2 {
			c.Across = append(c.Across, label{At: share(i, len(list)), Text: b.at.Format(layout), Anchor: "start"})
		}
	}
	for i := range c.Across {
		c.Across[i].Spare = i%3 != 0 || i > len(c.Across)/2
	}
	return c
}

// neededChart draws how many targets recovered at their n-th counted attempt.
func neededChart(needed []Needed) chart {
	if len(needed) == 0 {
		return chart{}
	}
	by, last, most, total := map[int]int{}, 0, 0, 0
	for _, n := range needed {
		by[n.N], last, most, total = n.Count, max(last, n.N), max(most, n.Count), total+n.Count
	}
	most = nice(most)
	c := chart{
		ID: "needed", Title: "Attempts that recovered targets needed", Down: grid(most), Head: []string{"Attempts", "Targets"},
		Desc: fmt.Sprintf("Bars, one for each number of attempts; %d of %d needed one.", by[1], total),
	}
	first := 1
	if by[0] > 0 {
		first = 0
	}
	columns := max(last-first+1, 10)
	for n := first; n <= last; n++ {
		name := strconv.Itoa(n)
		if n == 20 {
			name = "20 or more"
		}
		c.Rows = append(c.Rows, []string{name, number(by[n])})
		c.Columns = append(c.Columns, column{Words: fmt.Sprintf("%s: %d targets", name, by[n]), Parts: []rect{bar("success", n-first, columns, 0, by[n], most)}})
		c.Across = append(c.Across, label{At: percents((float64(n-first) + 0.4) / float64(columns)), Text: name, Anchor: "middle"})
	}
	return c
}

// bar gives a part of a column: n of most, on top of what is under it.
func bar(class string, i, columns, under, n, most int) rect {
	scale := float64(chartHeight) / float64(most)
	height := float64(n) * scale
	return rect{
		Class: class, X: share(i, columns), W: percents(0.8 / float64(columns)),
		Y: pixels(chartTop + chartHeight - float64(under)*scale - height), H: pixels(height),
	}
}

// grid gives the lines at the top and in the middle, as far as they stand for whole numbers.
func grid(most int) []label {
	lines := []label{{At: pixels(chartTop), Text: number(most)}}
	if most%2 == 0 {
		lines = append(lines, label{At: pixels(chartTop + chartHeight/2), Text: number(most / 2)})
	}
	return append(lines, label{At: pixels(chartTop + chartHeight)})
}

// nice gives the next number that is easy to read: one digit, and zeros.
func nice(n int) int {
	for ten := 1; ; ten *= 10 {
		for _, digit := range []int{1, 2, 3, 4, 6, 8} {
			if digit*ten >= n {
				return digit * ten
			}
		}
	}
}

func share(n, of int) string { return percents(float64(n) / float64(max(of, 1))) }

func percents(part float64) string { return strconv.FormatFloat(part*100, 'f', 2, 64) + "%" }

func pixels(n float64) string { return strconv.FormatFloat(n, 'f', 1, 64) }
