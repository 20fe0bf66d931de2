package config

import (
	"errors"
	"regexp/syntax"
	"slices"
	"strconv"
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
