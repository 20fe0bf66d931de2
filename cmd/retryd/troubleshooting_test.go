package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestThePageOfTroubleHasEveryWarningAndErrorOfTheLog reads the code for them.
func TestThePageOfTroubleHasEveryWarningAndErrorOfTheLog(t *testing.T) {
	logged := logMessages(t)
	require.Greater(t, len(logged), 60, "they are not found any more")
	data, err := os.ReadFile("../../docs/troubleshooting.md")
	require.NoError(t, err)
	explained := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (?:(warn|error) \\| \\S.*)?\\S.* \\|$").FindAllStringSubmatch(string(data), -1) {
		require.NotContains(t, explained, m[1], "it is explained twice")
		explained[m[1]] = m[2]
	}
	for message, level := range logged {
		if have, ok := explained[message]; !ok || have != level {
			t.Errorf("docs/troubleshooting.md does not explain, with the level %q: %s", level, message)
		}
	}
	for message := range explained {
		if _, ok := logged[message]; !ok {
			t.Errorf("docs/troubleshooting.md explains what the code does not log: %s", message)
		}
	}
}

// logMessages gives the messages that can be logged with the level of each, and the warnings of
// configurations, which have none.
func logMessages(t *testing.T) map[string]string {
	messages := map[string]string{}
	for _, root := range []string{".", "../../internal"} {
		require.NoError(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return fmt.Errorf("read %s: %w", path, err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				level, message := logged(n)
				if message == nil {
					return true
				}
				text, ok := literal(message)
				switch where := files.Position(n.Pos()); {
				case ok && level == "":
					text = verbs.ReplaceAllString(text, "…")
					fallthrough
				case ok:
					require.NotContains(t, text, "`", "%s: it could not be in a table", where)
					messages[text] = level
				case !passedOn[filepath.Base(path)]:
					t.Errorf("%s: a message that is not written out cannot be explained", where)
				}
				return true
			})
			return nil
		}))
	}
	return messages
}

// passedOn are the files that log what others wrote out: connection.go what is given to wonder, reload.go
// the warnings of configurations.
var passedOn = map[string]bool{"connection.go": true, "reload.go": true}

var verbs = regexp.MustCompile(`%[a-z]`)

// logged gives the level and the message of what is logged from warn on, or is a warning of a configuration.
func logged(n ast.Node) (level string, message ast.Expr) {
	if p, ok := n.(*ast.CompositeLit); ok && len(p.Elts) == 6 { // a Problem that no decoder makes
		if name, ok := p.Type.(*ast.Ident); ok && name.Name == "Problem" {
			if _, ok := literal(p.Elts[3]); ok {
				return "", p.Elts[3]
			}
		}
	}
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return "", nil
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return "", nil
	}
	switch on := lastName(f.X); {
	case f.Sel.Name == "Warn" && strings.EqualFold(on, "log"):
		return "warn", call.Args[0]
	case f.Sel.Name == "Error" && strings.EqualFold(on, "log"):
		return "error", call.Args[0]
	case f.Sel.Name == "Log" && on == "log" && len(call.Args) > 1:
		return "warn", call.Args[1]
	case f.Sel.Name == "wonder" && len(call.Args) > 1:
		return "warn", call.Args[1]
	case f.Sel.Name == "warn" && on == "d" && len(call.Args) > 1:
		return "", call.Args[1]
	}
	return "", nil
}

func lastName(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	}
	return ""
}

func literal(x ast.Expr) (string, bool) {
	l, ok := x.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}
