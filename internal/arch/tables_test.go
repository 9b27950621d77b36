package arch

import (
	"fmt"
	"go/ast"
	"os"
	"strings"
	"testing"
)

// Every table of the state map has a prefix of its own, and a line in the specification.
func TestTablesAreDistinctAndListed(t *testing.T) {
	spec, err := os.ReadFile("../../docs/spec/ledger.md")
	if err != nil {
		t.Fatal(err)
	}
	owner := map[string]string{"'r'": "the replay set"} // which is no exec.Table: its rows are packed
	for _, p := range load(t, typed, "./internal/ledger/...") {
		for _, f := range p.Syntax {
			ast.Inspect(f, func(n ast.Node) bool {
				field, ok := n.(*ast.KeyValueExpr)
				if !ok {
					return true
				}
				name, _ := field.Key.(*ast.Ident)
				value, _ := field.Value.(*ast.BasicLit)
				if name == nil || value == nil || name.Name != "Prefix" {
					return true
				}
				if other, taken := owner[value.Value]; taken {
					t.Errorf("prefix %s of %s is that of %s", value.Value, p.PkgPath, other)
				}
				owner[value.Value] = p.PkgPath
				return true
			})
		}
	}
	if len(owner) < 20 {
		t.Fatal("so few tables?", len(owner))
	}
	for prefix := range owner {
		if line := fmt.Sprintf("\n| `%s` |", strings.Trim(prefix, "'")); !strings.Contains(string(spec), line) {
			t.Errorf("docs/spec/ledger.md does not list the table with prefix %s", prefix)
		}
	}
}
