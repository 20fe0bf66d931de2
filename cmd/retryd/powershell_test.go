package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// powerText is PowerShell with its strings taken out: what stands for the n-th is "§n§".
type powerText struct {
	code    string
	strings []string
}

// readPower reads PowerShell as far as its quotes, comments and brackets go [MS about_Quoting_Rules,
// about_Comments]. A curly quote is a quote too; in a string a quote is doubled.
func readPower(t *testing.T, script string) (p powerText) {
	t.Helper()
	const quotes = "'\u2018\u2019\u201a\u201b"
	var code strings.Builder
	var open []rune // brackets
	runes := []rune(script)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case strings.ContainsRune(quotes, r):
			var text strings.Builder
			for i++; ; i++ {
				require.Less(t, i, len(runes), "a string has no end: %.80s", text.String())
				if !strings.ContainsRune(quotes, runes[i]) {
					text.WriteRune(runes[i])
					continue
				}
				if i+1 == len(runes) || !strings.ContainsRune(quotes, runes[i+1]) {
					break
				}
				i++
				text.WriteRune(runes[i])
			}
			require.NotContains(t, text.String(), "\n")
			code.WriteString("§" + string(rune('a'+len(p.strings)%26)) + "§")
			p.strings = append(p.strings, text.String())
		case r == '#':
			for i+1 < len(runes) && runes[i+1] != '\n' {
				i++
			}
		default:
			code.WriteRune(r)
			if strings.ContainsRune("({[", r) {
				open = append(open, r)
			}
			if at := strings.IndexRune(")}]", r); at >= 0 {
				require.NotEmpty(t, open, "a %c closes nothing, after %s", r, code.String()[max(0, code.Len()-200):])
				require.Equal(t, rune("({["[at]), open[len(open)-1], "after %s", code.String()[max(0, code.Len()-200):])
				open = open[:len(open)-1]
			}
		}
	}
	require.Empty(t, string(open), "brackets that nothing closes")
	p.code = code.String()
	return p
}

// TestThePowerShellScriptReadsAsPowerShell looks where no PowerShell is installed, which would run it: TestShellsComplete.
func TestThePowerShellScriptReadsAsPowerShell(t *testing.T) {
	t.Parallel()
	var out, said bytes.Buffer
	require.Equal(t, exitDone, run(t.Context(), []string{"completion", "powershell"}, &out, &said), &said)
	script := out.String()
	require.Regexp(t, `^(#.*\n|\n)*Register-ArgumentCompleter -Native -CommandName retryd -ScriptBlock \{\n +param\(\$wordToComplete, \$commandAst, \$cursorPosition\)\n`, script)
	p := readPower(t, script)
	require.NotContains(t, p.code, "{{", "of the template nothing is left")
	require.NotContains(t, p.code, "<no value>")
	require.NotContains(t, p.code, "`", "a backquote would take what follows for something else")
	require.NotRegexp(t, `[^\x00-\x7f]`, script, "an older PowerShell reads what a program prints in the machine's code page: a part of a letter can be a quote in it")

	// A completion without a tooltip is an error in PowerShell, at the reader's next Tab.
	offers := regexp.MustCompile(`\bOffer §.§ §.§ §.§`)
	require.Greater(t, len(offers.FindAllString(p.code, -1)), 100)
	require.Len(t, offers.FindAllString(p.code, -1), strings.Count(p.code, "Offer §"), "each has a text, a kind and a help")
	require.NotContains(t, script, " ''\n", "the help is empty")
	require.NotContains(t, script, " '' }", "the help is empty")
	for _, kind := range regexp.MustCompile(`Offer '[^']*' '([^']*)'`).FindAllStringSubmatch(script, -1) {
		require.Contains(t, []string{"ParameterName", "ParameterValue"}, kind[1], "of CompletionResultType")
	}

	// What is typed is compared with -Wildcard: only * before a global flag is one.
	for _, label := range regexp.MustCompile(`(?m)^ {12}'([^']*)' \{ \$(?:at|flag) =`).FindAllStringSubmatch(script, -1) {
		require.NotRegexp(t, `[*?\[]`, strings.TrimPrefix(label[1], "*:"), label[0])
	}
	for _, c := range theModel().All() {
		for _, under := range c.Commands {
			for _, spelling := range under.Spellings() {
				require.Contains(t, script, " '"+c.Words+":"+spelling+"' { $at = '"+under.Words+"'; $n = 0; break }")
			}
			require.Contains(t, script, "{ Offer '"+under.Name+"' 'ParameterValue' ")
		}
		for _, v := range c.Flags {
			for _, name := range v.Typed() {
				require.Contains(t, script, "Offer '"+name+"' 'ParameterName' ")
			}
			for _, word := range v.Words {
				require.Contains(t, script, "Offer '"+word+"' 'ParameterValue' ")
			}
		}
	}
}

// TestTheReaderOfPowerShellKnowsItsQuotes holds it against what PowerShell takes for a string.
func TestTheReaderOfPowerShellKnowsItsQuotes(t *testing.T) {
	t.Parallel()
	p := readPower(t, "f 'it''s' { 'a#b' } # it's (\n'’’'")
	require.Equal(t, []string{"it's", "a#b", "’"}, p.strings)
	for _, text := range []string{"it's", "it’s", "‘‚‛", "{", "$x", "`"} {
		require.Equal(t, []string{text}, readPower(t, "f "+powerQuoted(text)+" ()").strings)
	}
}
