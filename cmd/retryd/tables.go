package main

import (
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"

	"retryd/internal/web"
)

// tableOf is a table of things for a reader: on a terminal it is as wide as that.
type tableOf[T any] []column[T]

// column is one column of it. A text that somebody else chose is made safe for the terminal here.
type column[T any] struct {
	name string
	cell func(T) string
}

// narrowest is what a cell is cut to at most.
const narrowest = 8

// write writes the rows under their names.
func (t tableOf[T]) write(w io.Writer, rows []T) {
	lines, widths := make([][]string, 0, len(rows)+1), make([]int, len(t))
	var names []string
	for _, c := range t {
		names = append(names, c.name)
	}
	lines = append(lines, names)
	for _, row := range rows {
		var line []string
		for _, c := range t {
			text := shown(c.cell(row))
			if text == "" {
				text = "-"
			}
			line = append(line, text)
		}
		lines = append(lines, line)
	}
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], wide(cell))
		}
	}
	fit(widths, terminalWidth(w))
	for _, line := range lines {
		var b strings.Builder
		for i, cell := range line {
			cell = clipped(cell, widths[i])
			b.WriteString(cell)
			if i < len(line)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-wide(cell)+gap))
			}
		}
		printf(w, "%s\n", b.String())
	}
}

// gap is between two columns.
const gap = 2

// fit takes from the widest columns until all fit into a width; 0 = any width will do.
func fit(widths []int, width int) {
	for width > 0 {
		sum, widest := gap*(len(widths)-1), 0
		for i, w := range widths {
			if sum += w; w > widths[widest] {
				widest = i
			}
		}
		if sum <= width || widths[widest] <= narrowest {
			return
		}
		widths[widest]--
	}
}

// terminalWidth gives the columns of a terminal, 0 of anything else.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !isTerminal(w) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// doubled are the scripts whose letters take two columns of a terminal.
var doubled = []*unicode.RangeTable{unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana}

func wide(text string) (n int) {
	for _, r := range text {
		n++
		if unicode.In(r, doubled...) || r >= 0x3000 && r <= 0x303f || r >= 0xff01 && r <= 0xff60 || r >= 0x1f300 && r <= 0x1faff {
			n++
		}
	}
	return n
}

// clipped cuts a text to a width.
func clipped(text string, width int) string {
	if wide(text) <= width {
		return text
	}
	runes := []rune(text)
	for len(runes) > 0 && wide(string(runes)) > width-1 {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}

// at writes a moment that may not be there.
func at(t *time.Time) string {
	if t == nil {
		return ""
	}
	return stamp(*t)
}

// ago says how far from now a moment is.
func ago(t, now time.Time) string { return web.Ago(t.Sub(now)) }
