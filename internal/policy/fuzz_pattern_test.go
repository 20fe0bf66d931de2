package policy_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
)

func FuzzAPatternMatchesTheWholeOrNothing(f *testing.F) {
	for _, row := range [][2]string{
		{"fw-.*", "fw-1"}, {"fw-.*", "xfw-1"}, {"a|ab", "ab"}, {"a|b", "ac"}, {"^a$", "a"}, {"(?m)^a$", "a\nb"}, {"a)|(b", "b"}, {`\Qa.b`, "a.b"}, {`\Qa.b\E`, "a.b"},
		{"(?i)A", "a"}, {"", ""}, {"(?s).*", "a\n"}, {".*", "a\n"}, {"a*?", "aaa"}, {`\bx\b`, "x"}, {"x{1000}", "x"}, {"(", "("}, {`a\`, "a"}, {"[^\\x00-\\x7f]", "电"}, {"a", "\xff"}, {"(?U)a+", "aa"},
	} {
		f.Add(row[0], row[1])
	}
	f.Fuzz(func(t *testing.T, expr, text string) {
		alone, err := regexp.Compile(expr)
		re, patternErr := policy.Pattern(expr)
		if err != nil {
			require.Equal(t, err, patternErr, "the message quotes the operator's own text")
			return
		}
		if patternErr != nil { // an open \Q takes what is put around it for text
			require.Contains(t, expr, `\Q`)
			return
		}
		// The longest match of those that begin leftmost is the whole if any is.
		alone.Longest()
		found := alone.FindStringIndex(text)
		whole := found != nil && found[0] == 0 && found[1] == len(text)
		require.Equal(t, whole, re.MatchString(text))
		if regexp.QuoteMeta(expr) == expr {
			require.Equal(t, expr == strings.ToValidUTF8(text, "\ufffd"), whole)
		}
	})
}
