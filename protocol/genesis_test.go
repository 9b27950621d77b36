package protocol

import (
	"slices"
	"strings"
	"testing"
)

// A genesis with classes that are none, or in another order than the one, is refused.
func TestEmergencyClasses(t *testing.T) {
	if err := validateClasses(DefaultParams().EmergencyClasses); err != nil {
		t.Error(err)
	}
	if err := validateClasses(nil); err != nil {
		t.Error(err)
	}
	many := make([]string, EmergencyClassesMax+1)
	for i := range many {
		many[i] = "c" + strings.Repeat("x", i)
	}
	if err := validateClasses(many[:EmergencyClassesMax]); err != nil {
		t.Error(err)
	}
	for what, bad := range map[string][]string{
		"too many": many, "empty": {""}, "capitals": {"Allergies"}, "two hyphens": {"a--b"}, "hyphen first": {"-a"}, "hyphen last": {"a-"},
		"too long": {strings.Repeat("a", ClassBytesMax+1)}, "descending": {"b", "a"}, "twice": {"a", "a"}, "not ASCII": {"é"},
	} {
		if err := validateClasses(bad); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if !slices.IsSorted(DefaultParams().EmergencyClasses) {
		t.Error("the default is not ascending")
	}
}
