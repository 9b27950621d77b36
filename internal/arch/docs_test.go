package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testNamed   = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9_]*)`")
	testDefined = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]+)\(`)
	linked      = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
)

// walk gives every file of the repository with an ending, outside of what is not ours.
func walk(t *testing.T, ending string, do func(path string, text string)) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "testdata" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ending):
			return nil
		}
		raw, err := os.ReadFile(path)
		if err == nil {
			do(path, string(raw))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A document that says «shown by TestX» shows nothing if there is no TestX, and a link that leads nowhere helps nobody.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	defined := map[string]bool{}
	walk(t, "_test.go", func(_, text string) {
		for _, m := range testDefined.FindAllStringSubmatch(text, -1) {
			defined[m[1]] = true
		}
	})
	named, links := 0, 0
	walk(t, ".md", func(path, text string) {
		for _, m := range testNamed.FindAllStringSubmatch(text, -1) {
			if named++; !defined[m[1]] {
				t.Errorf("%s names %s, which is nowhere", path, m[1])
			}
		}
		for _, m := range linked.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			if links++; !exists(filepath.Join(filepath.Dir(path), m[1])) {
				t.Errorf("%s leads to %s, which is not there", path, m[1])
			}
		}
	})
	if named < 50 || links < 50 {
		t.Fatalf("only %d tests and %d links found in the documents: the search is broken", named, links)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
