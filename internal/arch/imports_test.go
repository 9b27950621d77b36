package arch

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

const module = "github.com/anamnesis-health/anamnesis/"

// ranks orders the packages: one imports only those of lower rank, so that the centre can be read, tested and changed without the edges.
// A new package takes its place here.
var ranks = map[string]int{
	"protocol": 0, "protocol/smt": 0, "protocol/c2sp": 0, // what everybody outside may import too
	"internal/api": 10, "internal/did": 10, "internal/ledger/state": 10, "internal/port": 10, "internal/threshold": 10, "internal/translog": 10,
	"internal/ledger/exec": 15, "protocol/wiretest": 5, "internal/threshold/thresholdtest": 15,
	"internal/ledger/registry": 20, "internal/ledger/consent": 20, "internal/ledger/journal": 20, "internal/ledger/keygen": 20,
	"internal/ledger": 30, "internal/vault": 30, "internal/wallet": 30, "internal/fhir": 30,
	"internal/ledger/ledgertest": 35, "internal/proof": 35,
	"internal/notify":    38,
	"internal/custodian": 40, "internal/consensus": 40, "internal/gateway": 40, "internal/synth": 40, "internal/rights": 40,
	"internal/client": 45,
	"internal/node":   50,
	"internal/sim":    55, "internal/demo": 55, "internal/bench": 55, "internal/fsck": 55, "internal/backup": 55,
	"internal/arch": 60, "cmd/anamnesis": 60, "cmd/wallet-wasm": 60,
}

// only says which packages alone may import a module or package, and why.
var only = []struct {
	what    string // import path, with all below it
	allowed []string
	why     string
}{
	{"github.com/cometbft/cometbft", []string{"internal/consensus"}, "the engine stays replaceable, and its types out of the ledger"},
	{"github.com/cockroachdb/pebble", []string{"internal/ledger/state", "internal/consensus", "internal/bench", "internal/fsck"}, "the ledger sees state.Store, which tests can make fail; the engine keeps its blocks in its own, bench measures and fsck reads the files themselves"},
	{"github.com/cedar-policy/cedar-go", []string{"internal/ledger/consent"}, "its diagnostics come in random order, and a new version of it is a new protocol version"},
	{"github.com/cloudflare/circl", []string{"internal/threshold"}, "group arithmetic is reviewed in one place"},
	{"github.com/oasisprotocol/curve25519-voi", []string{"protocol", "internal/threshold"}, "one set of Ed25519 rules, in protocol"},
	{"github.com/fxamacker/cbor", []string{"protocol", "internal/gateway"}, "one canonical encoding, in protocol; gateways show entries, whose actions are raw CBOR"},
	{"gocloud.dev", []string{"internal/vault"}, "blobs are the vault's"},
	{"modernc.org/sqlite", []string{"internal/notify"}, "the ledger and all that rests on it are in Pebble; SQLite is for what a gateway keeps by itself"},
	{"codeberg.org/go-pdf/fpdf", []string{"internal/rights"}, "one package makes documents"},
	{"github.com/spf13/cobra", []string{"cmd/anamnesis"}, "the packages know nothing of command lines"},
	{"testing", []string{"internal/ledger/ledgertest", "internal/threshold/thresholdtest", "protocol/wiretest"}, "no test code in the program"},
	{module + "protocol/wiretest", nil, "for tests"},
	{module + "internal/ledger/ledgertest", nil, "for tests"},
	{module + "internal/threshold/thresholdtest", nil, "for tests"},
	{"math/rand", []string{"internal/synth", "internal/vault", "internal/bench", "internal/notify", "internal/port", "protocol/wiretest"}, "what must be unguessable comes from crypto/rand; what is made up needs a seed, and the jitter of retries may be anything"},
}

// browser packages build for js/wasm: wallets and auditors run them there.
var browser = []string{"protocol", "protocol/smt", "protocol/c2sp", "internal/threshold", "internal/wallet", "internal/proof"}

// notInBrowsers does not build there, or has no business there.
var notInBrowsers = []string{"github.com/cockroachdb/pebble", "github.com/cometbft/cometbft", "gocloud.dev", module + "internal/ledger"}

func load(t *testing.T, mode packages.LoadMode, patterns ...string) []*packages.Package {
	t.Helper()
	all, err := packages.Load(&packages.Config{Mode: mode | packages.NeedName | packages.NeedImports | packages.NeedModule, Dir: "../.."}, patterns...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func within(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

// violations are what the rules find against one package's imports.
func violations(pkg string, imports []string) (out []string) {
	rank, known := ranks[pkg]
	if !known {
		return []string{"has no rank: give it one in internal/arch"}
	}
	for _, path := range imports {
		if ours, ok := strings.CutPrefix(path, module); ok {
			if r, known := ranks[ours]; !known || r >= rank {
				out = append(out, "imports "+ours+", which is not below it")
			}
		}
		for _, o := range only {
			if versioned := strings.HasPrefix(path, o.what+"/v"); (within(path, o.what) || versioned) && !slices.Contains(o.allowed, pkg) {
				out = append(out, "imports "+path+": "+o.why)
			}
		}
	}
	return out
}

func TestImports(t *testing.T) {
	all := load(t, 0, "./...")
	if len(all) < 20 {
		t.Fatal("so few packages?", len(all))
	}
	for _, p := range all {
		var imports []string
		for path := range p.Imports {
			imports = append(imports, path)
		}
		slices.Sort(imports)
		for _, v := range violations(strings.TrimPrefix(p.PkgPath, module), imports) {
			t.Errorf("%s %s", strings.TrimPrefix(p.PkgPath, module), v)
		}
	}
}

// The rules bite.
func TestImportRulesBite(t *testing.T) {
	for _, c := range [][2]string{
		{"internal/ledger/consent", module + "internal/ledger/journal"},
		{"internal/ledger/exec", module + "internal/ledger/registry"},
		{"protocol", module + "internal/wallet"},
		{"internal/node", module + "internal/demo"},
		{"internal/node", module + "internal/unheard-of"},
		{"internal/unheard-of", "fmt"},
		{"internal/ledger", "github.com/cometbft/cometbft/abci/types"},
		{"internal/ledger", "github.com/cockroachdb/pebble/v2"},
		{"internal/node", "testing"},
		{"internal/node", module + "internal/ledger/ledgertest"},
		{"internal/wallet", "math/rand/v2"},
	} {
		if len(violations(c[0], c[1:])) == 0 {
			t.Errorf("%s may import %s", c[0], c[1])
		}
	}
	if v := violations("internal/ledger", []string{"fmt", module + "internal/ledger/consent", module + "protocol"}); len(v) > 0 {
		t.Error(v)
	}
}

func TestBrowserPackages(t *testing.T) {
	var patterns []string
	for _, p := range browser {
		patterns = append(patterns, "./"+p)
	}
	seen := map[string]bool{}
	var walk func(root string, p *packages.Package)
	walk = func(root string, p *packages.Package) {
		if seen[p.PkgPath] {
			return
		}
		seen[p.PkgPath] = true
		for _, no := range notInBrowsers {
			if within(p.PkgPath, no) {
				t.Errorf("%s needs %s, which browsers cannot have", root, p.PkgPath)
			}
		}
		for _, q := range p.Imports {
			walk(root, q)
		}
	}
	for _, p := range load(t, packages.NeedDeps, patterns...) {
		walk(strings.TrimPrefix(p.PkgPath, module), p)
	}
	if !seen["crypto/sha256"] {
		t.Fatal("the walk did not reach what these packages are made of")
	}
}
