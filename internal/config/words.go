package config

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
)

// typed gives the words of the vocabulary that were chosen, in the vocabulary's order.
func typed[W ~string](chosen []string, vocabulary []W) []W {
	return slices.DeleteFunc(slices.Clone(vocabulary), func(w W) bool { return !slices.Contains(chosen, string(w)) })
}

func itoa(n int) string { return strconv.Itoa(n) }

// plain gives a pattern's error without the words of the library around it.
func plain(err error) string {
	var e *syntax.Error
	if errors.As(err, &e) {
		return e.Code.String()
	}
	return err.Error()
}

// clip keeps a message readable whatever was in the file.
func clip(text string) string {
	if r := []rune(text); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return text
}

// suggest gives the nearest of some words, or all of them.
func suggest(word string, words []string, intro string) string {
	if best := nearest(word, words); best != "" {
		return fmt.Sprintf(": did you mean %q?", best)
	}
	return fmt.Sprintf("; %s %s", intro, strings.Join(words, ", "))
}

// nearest gives the word that was probably meant, empty if none is near.
func nearest(word string, words []string) string {
	best, distance := "", 3
	for _, w := range words {
		if n := edits(strings.ToLower(word), strings.ToLower(w)); n < distance {
			best, distance = w, n
		}
	}
	return best
}

// edits is the number of letters to change, add or drop to get from a to b.
func edits(a, b string) int {
	if len(a) > 40 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			substitution := diagonal
			if a[i-1] != b[j-1] {
				substitution++
			}
			diagonal = row[j]
			row[j] = min(row[j]+1, row[j-1]+1, substitution)
		}
	}
	return row[len(b)]
}
