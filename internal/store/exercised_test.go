package store_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"retryd/internal/store"
)

// TestEveryMethodIsTestedOnEachDatabase looks for calls in the tests that run on each, and in
// what those call.
func TestEveryMethodIsTestedOnEachDatabase(t *testing.T) {
	calls := map[string]map[string]bool{} // by function, or variable of functions: the names that it mentions
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	mentions := func(name string, node ast.Node) {
		calls[name] = map[string]bool{}
		ast.Inspect(node, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				calls[name][id.Name] = true
			}
			return true
		})
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		for _, d := range parsed.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				mentions(d.Name.Name, d.Body)
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && len(v.Values) == 1 {
						mentions(v.Names[0].Name, v.Values[0])
					}
				}
			}
		}
	}
	tested := map[string]bool{}
	var follow func(name string)
	follow = func(name string) {
		for mentioned := range calls[name] {
			if !tested[mentioned] {
				tested[mentioned] = true
				follow(mentioned)
			}
		}
	}
	for name := range calls {
		if calls[name]["onEach"] {
			follow(name)
		}
	}
	methods := reflect.TypeFor[*store.Store]()
	for i := range methods.NumMethod() {
		assert.True(t, tested[methods.Method(i).Name], "no test with onEach calls %s", methods.Method(i).Name)
	}
}
