package api

import (
	_ "embed"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
)

//go:embed api.go
var source string

// Words are what this package's comments say of a type and of its fields, by their Go names. The OpenAPI document takes its descriptions
// from them, so that there is one place to write them.
type Words struct {
	Type   string
	Fields map[string]string
}

// Descriptions reads the comments of this package's types, by the types' names.
func Descriptions() map[string]Words {
	file, err := parser.ParseFile(token.NewFileSet(), "api.go", source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil // it is compiled from this very source
	}
	out := map[string]Words{}
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		for _, s := range g.Specs {
			t := s.(*ast.TypeSpec)
			if st, ok := t.Type.(*ast.StructType); ok {
				out[t.Name.Name] = Words{Type: flat(g.Doc), Fields: fieldWords(st)}
			}
		}
	}
	return out
}

func fieldWords(st *ast.StructType) map[string]string {
	out := map[string]string{}
	for _, f := range st.Fields.List {
		words := flat(f.Doc)
		if words == "" {
			words = flat(f.Comment)
		}
		for _, n := range f.Names {
			out[n.Name] = words
		}
	}
	return out
}

func flat(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }
