package fhir

import (
	"net/url"
	"path"
	"slices"
	"strings"
)

// Collection is the resources of one import, over all its files. The zero Collection is ready. It is not safe for
// concurrent use.
type Collection struct {
	resources []Resource
	bytes     int64
}

// Add takes a resource from Read.
func (c *Collection) Add(r Resource) {
	if r.facts == nil {
		r = reread(r)
	}
	c.resources = append(c.resources, r)
	c.bytes += int64(len(r.Raw))
}

// reread computes what Read would have, for a Resource made by hand.
func reread(r Resource) Resource {
	r.facts = &facts{sensitive: Restricted}
	r.Class = Restricted
	var d doc
	if f := d.parse(r.Raw, DefaultLimits().DepthMax); f == nil {
		r.facts = extract(d.root(), interner{})
		r.Class = classOf(d.root(), r.Type, r.facts)
	}
	return r
}

// Len is how many resources were added, Bytes their size.
func (c *Collection) Len() int     { return len(c.resources) }
func (c *Collection) Bytes() int64 { return c.bytes }

// Resources gives the resources in the order they were added. The slice is the Collection's own.
func (c *Collection) Resources() []Resource { return c.resources }

// A reference is looked up in the resource's own file, then in its folder (a bulk export keeps one type a file),
// then everywhere. Only what is unique by construction may be found everywhere: an id such as "Patient/1" of one
// hospital must never meet the "Patient/1" of another.
type scopeKey struct {
	scope int32 // file ≥ 0, folder < −1, everywhere −1
	key   string
}

const everywhere int32 = -1

const (
	notFound  = -1
	ambiguous = -2 // several different resources go by that name
)

type index struct {
	c      *Collection
	file   []int32 // of each resource
	folder []int32
	at     map[scopeKey]int32
	hashes map[int32][32]byte // of resources that had to be compared, so that each is read once
}

func newIndex(c *Collection) *index {
	ix := &index{c: c, at: make(map[scopeKey]int32, 4*len(c.resources)), hashes: map[int32][32]byte{}}
	files, folders := map[string]int32{}, map[string]int32{}
	for i, r := range c.resources {
		f := numberOf(files, r.File)
		d := -2 - numberOf(folders, path.Dir(strings.ReplaceAll(r.File, "\\", "/")))
		ix.file = append(ix.file, f)
		ix.folder = append(ix.folder, d)
		ix.add(int32(i), r)
	}
	return ix
}

func numberOf(m map[string]int32, name string) int32 {
	n, ok := m[name]
	if !ok {
		n = int32(len(m))
		m[name] = n
	}
	return n
}

func (ix *index) add(i int32, r Resource) {
	if r.FullURL != "" {
		ix.put(i, r.FullURL, true)
	}
	if r.ID != "" {
		ix.put(i, r.Type+"/"+r.ID, isUnique(r.ID))
	}
	for _, id := range r.facts.identifiers {
		hasSystem := id[0] != '|'
		ix.put(i, r.Type+"?"+id, hasSystem)
		if hasSystem {
			ix.put(i, "?"+id, true)
		}
	}
}

func (ix *index) put(i int32, key string, global bool) {
	ix.putIn(ix.file[i], i, key)
	ix.putIn(ix.folder[i], i, key)
	if global {
		ix.putIn(everywhere, i, key)
	}
}

// putIn keeps the first of equal resources, and of versions of one resource in one file.
func (ix *index) putIn(scope, i int32, key string) {
	k := scopeKey{scope, key}
	j, taken := ix.at[k]
	switch {
	case !taken:
		ix.at[k] = i
	case j < 0 || ix.same(i, j):
	default:
		ix.at[k] = ambiguous
	}
}

// same reports that two resources are one: versions in one file, an id that is given out once, or equal content.
// Two servers' "Patient/1" in one Bundle have different full URLs and stay two.
func (ix *index) same(i, j int32) bool {
	a, b := ix.c.resources[i], ix.c.resources[j]
	if a.Type != b.Type {
		return false
	}
	if a.ID != "" && a.ID == b.ID {
		sameURL := a.FullURL == b.FullURL || a.FullURL == "" || b.FullURL == ""
		if isUnique(a.ID) || sameURL && ix.file[i] == ix.file[j] {
			return true
		}
	}
	return ix.hash(i) == ix.hash(j)
}

func (ix *index) hash(i int32) [32]byte {
	h, ok := ix.hashes[i]
	if !ok {
		h, _ = Hash(ix.c.resources[i].Raw) // what Read gave out can be hashed
		ix.hashes[i] = h
	}
	return h
}

// isUnique tells ids that no two systems give out: UUIDs, and digests of 128 bits or more.
func isUnique(id string) bool {
	uuid := len(id) == 36
	if !uuid && len(id) < 32 {
		return false
	}
	for i, c := range []byte(id) {
		dash := uuid && (i == 8 || i == 13 || i == 18 || i == 23)
		hex := c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
		if dash != (c == '-') || !dash && !hex {
			return false
		}
	}
	return true
}

// find resolves a reference of resource from: an index, notFound or ambiguous.
func (ix *index) find(from int32, r ref) int32 {
	if r.to == "" {
		if r.identifier == "" {
			return notFound
		}
		return ix.lookup(from, "?"+r.identifier)
	}
	key := referenceKey(r.to)
	if key == "" {
		return notFound
	}
	if base := ix.base(from); base != "" && !strings.Contains(key, ":") {
		if i, ok := ix.at[scopeKey{ix.file[from], base + key}]; ok {
			return i
		}
	}
	i := ix.lookup(from, key)
	if i == notFound && strings.Contains(key, "://") {
		return ix.findByEnd(from, key)
	}
	return i
}

// base is the server that a resource's full URL names, with the slash; relative references are relative to it (R4
// section 3.1.6.3, resolving references in Bundles).
func (ix *index) base(i int32) string {
	r := ix.c.resources[i]
	if !strings.HasPrefix(r.FullURL, "http") || r.ID == "" {
		return ""
	}
	base, ok := strings.CutSuffix(r.FullURL, r.Name())
	if !ok {
		return ""
	}
	return base
}

// findByEnd takes a full URL for a resource nearby that came without one: "…/Patient/1" for Patient/1.
func (ix *index) findByEnd(from int32, key string) int32 {
	i := ix.lookupNear(from, lastTwo(key))
	if i >= 0 && strings.HasPrefix(ix.c.resources[i].FullURL, "http") {
		return notFound // it is another server's
	}
	return i
}

func (ix *index) lookup(from int32, key string) int32 {
	if i := ix.lookupNear(from, key); i != notFound {
		return i
	}
	if i, ok := ix.at[scopeKey{everywhere, key}]; ok {
		return i
	}
	return notFound
}

func (ix *index) lookupNear(from int32, key string) int32 {
	if i, ok := ix.at[scopeKey{ix.file[from], key}]; ok {
		return i
	}
	if i, ok := ix.at[scopeKey{ix.folder[from], key}]; ok {
		return i
	}
	return notFound
}

// referenceKey is the index key of Reference.reference: conditional references become "Type?system|value", versions
// are dropped. References into the resource itself ("#x") have none.
func referenceKey(to string) string {
	if to[0] == '#' {
		return ""
	}
	to, _, _ = strings.Cut(to, "/_history/")
	typ, query, conditional := strings.Cut(to, "?")
	if !conditional {
		return to
	}
	value, ok := strings.CutPrefix(query, "identifier=")
	if !ok || strings.Contains(value, "&") {
		return to
	}
	value = unquery(value)
	if !strings.Contains(value, "|") {
		value = "|" + value
	}
	return lastOne(typ) + "?" + value
}

// lastOne and lastTwo are the ends of a URL: "Patient", "Patient/1".
func lastOne(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }

func lastTwo(s string) string {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return s
	}
	return s[strings.LastIndexByte(s[:i], '/')+1:]
}

// typeOf is the resource type a reference names, "" if it does not say (urn:uuid).
func (r ref) typeOf() string {
	key := r.to
	if key == "" || key[0] == '#' {
		return ""
	}
	if typ, _, ok := strings.Cut(key, "?"); ok {
		return lastOne(typ)
	}
	key, _, _ = strings.Cut(key, "/_history/")
	typ, _, _ := strings.Cut(lastTwo(key), "/")
	if _, known := types[typ]; known {
		return typ
	}
	return ""
}

// appendNew adds p to a small sorted set.
func appendNew(set []int32, p int32) []int32 {
	i, found := slices.BinarySearch(set, p)
	if found {
		return set
	}
	return slices.Insert(set, i, p)
}

// unquery undoes percent-encoding; what is broken stays as it is.
func unquery(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}
