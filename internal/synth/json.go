package synth

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// object is a JSON object in the order it is written: name, value, name, value, … Values that are nil or empty are
// left out, as FHIR wants.
type object []any

// list is a JSON array.
type list []any

// number is a decimal with a fixed count of places: {613, 1} is 61.3.
type number struct{ units, places int }

func (n number) String() string {
	s := strconv.Itoa(abs(n.units))
	if n.places > 0 {
		s = strings.Repeat("0", max(0, n.places+1-len(s))) + s
		s = s[:len(s)-n.places] + "." + s[len(s)-n.places:]
	}
	if n.units < 0 {
		return "-" + s
	}
	return s
}

func abs(n int) int { return max(n, -n) }

func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case object:
		return len(v) == 0
	case list:
		return len(v) == 0
	}
	return false
}

func appendJSON(out []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		quoted, err := json.Marshal(v)
		if err != nil {
			panic(fmt.Sprintf("synth: string cannot be written: %v", err)) // strings are our own
		}
		return append(out, quoted...)
	case int:
		return strconv.AppendInt(out, int64(v), 10)
	case bool:
		return strconv.AppendBool(out, v)
	case number:
		return append(out, v.String()...)
	case list:
		out = append(out, '[')
		for i, e := range v {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendJSON(out, e)
		}
		return append(out, ']')
	case object:
		return appendObject(out, v)
	}
	panic(fmt.Sprintf("synth: no JSON for %T", v)) // a mistake in this package
}

func appendObject(out []byte, o object) []byte {
	out = append(out, '{')
	first := true
	for i := 0; i < len(o); i += 2 {
		if isEmpty(o[i+1]) {
			continue
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = appendJSON(out, o[i].(string))
		out = append(out, ':')
		out = appendJSON(out, o[i+1])
	}
	return append(out, '}')
}
