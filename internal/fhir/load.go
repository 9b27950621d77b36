package fhir

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Loaded is what Load read.
type Loaded struct {
	Collection
	Problems []*Problem // at most Limits.ProblemsMax
	Tally    Tally
}

// Progress is told of each file that was read.
type Progress func(file string, t Tally)

// readable are the name endings that a folder is searched for.
var readable = []string{".json", ".ndjson", ".jsonl", ".json.gz", ".ndjson.gz", ".jsonl.gz"}

// Files lists what Load would read: files as given, folders searched by name ending, in a fixed order, each once.
// Links below a folder are not followed. Errors are those of the file system, or a *Problem over FilesMax.
func Files(paths []string, lim Limits) ([]string, error) {
	lim = lim.orDefault()
	var files []string
	for _, root := range paths {
		root, err := filepath.EvalSymlinks(root) // a link given by name is meant
		if err != nil {
			return nil, fmt.Errorf("fhir: list: %w", err)
		}
		err = filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case e.IsDir() && p != root && strings.HasPrefix(e.Name(), "."):
				return fs.SkipDir
			case e.IsDir():
				return nil
			case p != root && (!e.Type().IsRegular() || !isReadable(p)):
				return nil
			}
			files = append(files, p)
			if len(files) > lim.FilesMax {
				return &Problem{File: root, Entry: -1, Code: CodeTooLarge, Reason: fmt.Sprintf("more than %d files", lim.FilesMax)}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("fhir: list %s: %w", root, err)
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

func isReadable(p string) bool {
	p = strings.ToLower(p)
	return slices.ContainsFunc(readable, func(ending string) bool { return strings.HasSuffix(p, ending) })
}

// Load reads files and folders into one Collection. The error is the file system's; problems of the content are in
// Loaded. progress may be nil.
func Load(paths []string, lim Limits, progress Progress) (*Loaded, error) {
	files, err := Files(paths, lim)
	if err != nil {
		return nil, err
	}
	l := &Loaded{}
	for _, name := range files {
		t, err := l.loadFile(name, lim.orDefault())
		if err != nil {
			return nil, err
		}
		if progress != nil {
			progress(name, t)
		}
	}
	return l, nil
}

func (l *Loaded) loadFile(name string, lim Limits) (Tally, error) {
	f, err := os.Open(name)
	if err != nil {
		return Tally{}, fmt.Errorf("fhir: %w", err)
	}
	defer func() { _ = f.Close() }() // only read from
	t, err := Read(name, f, lim, func(r Resource) error {
		if l.Bytes()+int64(len(r.Raw)) > lim.TotalBytesMax {
			return &Problem{File: name, Entry: r.Entry, ResourceType: r.Type, ID: r.ID, Code: CodeTooLarge,
				Reason: fmt.Sprintf("over %d bytes of resources in one import", lim.TotalBytesMax)}
		}
		l.Add(r)
		return nil
	}, func(p *Problem) {
		if len(l.Problems) < lim.ProblemsMax {
			l.Problems = append(l.Problems, p)
		}
	})
	l.Tally.Add(t)
	return t, err
}
