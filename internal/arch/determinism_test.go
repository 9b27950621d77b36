package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// deterministic are the packages that every node executes alike: the same blocks must give the same bytes on each.
var deterministic = []string{
	"protocol", "protocol/smt", "protocol/c2sp", "internal/threshold",
	"internal/ledger", "internal/ledger/exec", "internal/ledger/state", "internal/ledger/registry", "internal/ledger/consent",
	"internal/ledger/journal", "internal/ledger/keygen",
}

// The bans, with what each would break.
const (
	banClock = "clock"       // two nodes never read the same time
	banIO    = "outside"     // network, files, environment: not the same on two nodes
	banRand  = "randomness"  // readers of randomness are passed in by those who need secrets
	banGo    = "concurrency" // the order of two goroutines is nobody's decision
	banFloat = "float"       // rounding differs between processors, and NaN is not equal to itself
	banRange = "map order"   // Go gives another order each time
)

// except lists where a ban does not apply, and why. One that excuses nothing is an error.
var except = []struct{ file, ban, why string }{
	{"internal/ledger/state/pebble.go", banIO, "the store is where the state meets the disk"},
}

var bannedImports = map[string]string{
	"os": banIO, "syscall": banIO, "net": banIO, "io/ioutil": banIO, "unsafe": banIO, "runtime": banIO, "C": banIO,
	"math/rand": banRand, "crypto/rand": banRand, "math/big/rand": banRand, "hash/maphash": banRand,
}

var clockFuncs = []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "Sleep", "NewTimer", "NewTicker"}

// finding is one place where a ban bites.
type finding struct{ file, ban, what string }

// inspect finds what the bans forbid in the files of a package.
func inspect(p *packages.Package) (out []finding) {
	for _, f := range p.Syntax {
		at := func(n ast.Node) string { return relative(p.Fset.Position(n.Pos()).Filename) }
		note := func(n ast.Node, ban, format string, args ...any) {
			out = append(out, finding{at(n), ban, fmt.Sprintf("line %d: ", p.Fset.Position(n.Pos()).Line) + fmt.Sprintf(format, args...)})
		}
		for _, i := range f.Imports {
			path := strings.Trim(i.Path.Value, `"`)
			for banned, ban := range bannedImports {
				if within(path, banned) && path != "runtime/debug" {
					note(i, ban, "imports %s", path)
				}
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				note(n, banGo, "starts a goroutine")
			case *ast.SelectStmt:
				note(n, banGo, "selects")
			case *ast.BasicLit:
				if n.Kind == token.FLOAT || n.Kind == token.IMAG {
					note(n, banFloat, "%s", n.Value)
				}
			case *ast.RangeStmt:
				if t := p.TypesInfo.TypeOf(n.X); t != nil && overMap(t) {
					note(n, banRange, "ranges over %s", t)
				}
			case *ast.Ident:
				inspectName(p, n, note)
			case ast.Expr:
				if t, ok := p.TypesInfo.TypeOf(n).(*types.Basic); ok && t.Info()&(types.IsFloat|types.IsComplex) != 0 && t.Info()&types.IsUntyped == 0 {
					note(n, banFloat, "a value of type %s", t)
				}
			}
			return true
		})
	}
	return out
}

// inspectName looks at what a name stands for: the clock's functions, iteration of maps by package maps, and variables of float type.
func inspectName(p *packages.Package, n *ast.Ident, note func(ast.Node, string, string, ...any)) {
	obj := p.TypesInfo.ObjectOf(n)
	if obj == nil {
		return
	}
	if pkg := obj.Pkg(); pkg != nil {
		if pkg.Path() == "time" && slices.Contains(clockFuncs, obj.Name()) {
			note(n, banClock, "time.%s", obj.Name())
		}
		if pkg.Path() == "maps" && slices.Contains([]string{"Keys", "Values", "All"}, obj.Name()) {
			note(n, banRange, "maps.%s", obj.Name())
		}
	}
	if v, ok := obj.(*types.Var); ok {
		if t, ok := v.Type().Underlying().(*types.Basic); ok && t.Info()&(types.IsFloat|types.IsComplex) != 0 {
			note(n, banFloat, "%s of type %s", n.Name, v.Type())
		}
	}
}

// overMap tells whether a range over the type follows a map's order; a type parameter counts if any of its types is a map.
func overMap(t types.Type) bool {
	if p, ok := t.(*types.TypeParam); ok {
		return strings.Contains(p.Constraint().Underlying().String(), "map[")
	}
	_, ok := t.Underlying().(*types.Map)
	return ok
}

func relative(file string) string {
	root, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	rel, err := filepath.Rel(root, file)
	if err != nil {
		panic(err)
	}
	return filepath.ToSlash(rel)
}

const typed = packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo

func TestDeterminism(t *testing.T) {
	var patterns []string
	for _, p := range deterministic {
		patterns = append(patterns, "./"+p)
	}
	used := make([]bool, len(except))
	all := load(t, typed, patterns...)
	if len(all) != len(deterministic) {
		t.Fatalf("%d packages of %d", len(all), len(deterministic))
	}
	for _, p := range all {
		if len(p.Errors) > 0 || len(p.Syntax) == 0 {
			t.Fatalf("%s does not type-check, so nothing was looked at: %v", p.PkgPath, p.Errors)
		}
	findings:
		for _, f := range inspect(p) {
			for i, e := range except {
				if e.file == f.file && e.ban == f.ban {
					used[i] = true
					continue findings
				}
			}
			t.Errorf("%s: %s: %s", f.file, f.ban, f.what)
		}
	}
	for i, e := range except {
		if !used[i] {
			t.Errorf("the exception of %s from %q excuses nothing: remove it", e.file, e.ban)
		}
	}
}

// A new package of the ledger must not be forgotten.
func TestDeterministicPackagesAreAllListed(t *testing.T) {
	for _, p := range load(t, 0, "./internal/ledger/...", "./protocol/...", "./internal/threshold") {
		name := strings.TrimPrefix(p.PkgPath, module)
		if !slices.Contains(deterministic, name) && !strings.HasSuffix(name, "test") {
			t.Errorf("%s is not under the determinism bans", name)
		}
	}
}

// The bans bite: testdata/bad breaks each, on lines marked «want BAN».
func TestBansBite(t *testing.T) {
	all := load(t, typed, "./internal/arch/testdata/bad")
	if len(all) != 1 || len(all[0].Errors) > 0 {
		t.Fatal(all[0].Errors)
	}
	p := all[0]
	want := map[string]bool{}
	for _, f := range p.Syntax {
		for _, g := range f.Comments {
			for _, c := range g.List {
				if ban, ok := strings.CutPrefix(c.Text, "// want "); ok {
					want[fmt.Sprintf("line %d %s", p.Fset.Position(c.Pos()).Line, ban)] = true
				}
			}
		}
	}
	got := map[string]bool{}
	for _, f := range inspect(p) {
		line, _, _ := strings.Cut(f.what, ":")
		got[line+" "+f.ban] = true
	}
	for w := range want {
		if !got[w] {
			t.Error("not found: ", w)
		}
	}
	for g := range got {
		if !want[g] {
			t.Error("found without cause: ", g)
		}
	}
	for _, ban := range []string{banClock, banIO, banRand, banGo, banFloat, banRange} {
		if !slices.ContainsFunc(slices.Collect(keys(want)), func(w string) bool { return strings.HasSuffix(w, ban) }) {
			t.Error("no example of", ban)
		}
	}
}

func keys(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
