//go:build ignore

// This program makes r4.txt out of the HL7 definitions of FHIR R4 (4.0.1; CC0):
//
//	go run gen_r4.go profiles-types.json profiles-resources.json > r4.txt
//
// One line a type or nested element: its name, then its elements as [*][!]name:type, where * is a list and ! is
// required. Choice elements (value[x]) are spelled out.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
)

type bundle struct {
	Entry []struct{ Resource definition }
}

type definition struct {
	ResourceType, Name, Kind, Derivation string
	Type                                 any // a boolean in OperationDefinition
	Snapshot                             struct{ Element []element }
}

type element struct {
	Path, ContentReference string
	Min                    int
	Max                    string
	Base                   struct{ Max string }
	Type                   []struct{ Code string }
}

func main() {
	log.SetFlags(0)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for _, name := range os.Args[1:] {
		raw, err := os.ReadFile(name)
		if err != nil {
			log.Fatal(err)
		}
		var b bundle
		if err := json.Unmarshal(raw, &b); err != nil {
			log.Fatal(err)
		}
		for _, e := range b.Entry {
			d := e.Resource
			if d.ResourceType == "StructureDefinition" && d.Derivation != "constraint" && any(d.Name) == d.Type &&
				d.Kind != "primitive-type" && !slices.Contains(notR4, d.Name) {
				write(out, d)
			}
		}
	}
}

// notR4 and metaElements undo what a distributor of the definitions may have added.
var (
	notR4        = []string{"SubscriptionStatus", "MetadataResource"}
	metaElements = []string{"id", "extension", "versionId", "lastUpdated", "source", "profile", "security", "tag"}
)

func write(out *bufio.Writer, d definition) {
	var order []string
	lines := map[string][]string{}
	for _, el := range d.Snapshot.Element {
		i := strings.LastIndexByte(el.Path, '.')
		if i < 0 {
			lines[el.Path] = nil
			order = append(order, el.Path)
			continue
		}
		parent, name := el.Path[:i], el.Path[i+1:]
		if parent == "Meta" && !slices.Contains(metaElements, name) {
			continue
		}
		if _, ok := lines[parent]; !ok {
			order = append(order, parent)
		}
		lines[parent] = append(lines[parent], specs(el, name)...)
	}
	for _, parent := range order {
		fmt.Fprintln(out, parent, strings.Join(lines[parent], " "))
	}
}

func specs(el element, name string) (out []string) {
	mark := ""
	if el.Max != "0" && el.Max != "1" {
		mark = "*"
	}
	base, isChoice := strings.CutSuffix(name, "[x]")
	if el.Min > 0 && !isChoice {
		mark += "!"
	}
	if el.ContentReference != "" {
		_, target, _ := strings.Cut(el.ContentReference, "#")
		return []string{mark + name + ":" + target}
	}
	for _, t := range el.Type {
		code := t.Code[strings.LastIndexByte(t.Code, '.')+1:]
		if strings.HasPrefix(t.Code, "http://hl7.org/fhirpath/") {
			code = "string"
		}
		switch {
		case code == "BackboneElement" || code == "Element" && !strings.HasPrefix(name, "extension"):
			code = el.Path
		}
		if isChoice {
			out = append(out, mark+base+strings.ToUpper(code[:1])+code[1:]+":"+code)
		} else {
			out = append(out, mark+name+":"+code)
		}
	}
	return out
}
