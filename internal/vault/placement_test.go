package vault

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// fromRoot finds a file of the repository from wherever the test runs.
func fromRoot(t testing.TB, path string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, path)
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}

func TestPlacementVectors(t *testing.T) {
	content, err := os.ReadFile(fromRoot(t, "docs/spec/vectors/vault-placement.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Domain  string
		Weights []struct {
			Member       MemberID
			Hash, Weight Hash
		}
		Placements []struct {
			Name      string
			Hash      Hash
			Members   []MemberID
			Copies    int
			Placement []MemberID
		}
	}
	if err := json.Unmarshal(content, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Weights) == 0 || len(vectors.Placements) == 0 || vectors.Domain != placementDomain {
		t.Fatal("the vectors are empty or of another domain")
	}
	for _, v := range vectors.Weights {
		if got := weight(v.Member, v.Hash); got != v.Weight {
			t.Errorf("weight of %s: %s, want %s", v.Member, got, v.Weight)
		}
	}
	for _, v := range vectors.Placements {
		if got := Placement(v.Hash, v.Members, v.Copies); !slices.Equal(got, v.Placement) {
			t.Errorf("%s: %v, want %v", v.Name, got, v.Placement)
		}
	}
}

func drawMembers(t *rapid.T, least int) []MemberID {
	return rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) MemberID {
		return MemberID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "member"))
	}), least, 12, rapid.ID).Draw(t, "members")
}

func drawHash(t *rapid.T) Hash {
	return Hash(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash"))
}

func TestPlacementMovesOnlyWhatItMust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members, file := drawMembers(t, 1), drawHash(t)
		copies := rapid.IntRange(1, 5).Draw(t, "copies")
		placed := Placement(file, members, copies)
		if len(placed) != min(copies, len(members)) {
			t.Fatalf("%d members, %d copies: placed on %d", len(members), copies, len(placed))
		}
		if shuffled := rapid.Permutation(members).Draw(t, "shuffled"); !slices.Equal(placed, Placement(file, shuffled, copies)) {
			t.Fatal("the order of the members matters")
		}
		leaver := rapid.SampledFrom(members).Draw(t, "leaver")
		after := Placement(file, without(members, leaver), copies)
		kept := without(placed, leaver)
		if !slices.Equal(after[:min(len(kept), len(after))], kept) {
			t.Fatalf("%s left: %v became %v", leaver, placed, after)
		}
	})
}

func TestPlacementIsFair(t *testing.T) {
	members := make([]MemberID, 10)
	for i := range members {
		members[i] = MemberID{byte(i + 1)}
	}
	const total = 5000
	share := map[MemberID]int{}
	for i := range total {
		for _, m := range Placement(hashOfContent(content(i, 8)), members, 3) {
			share[m]++
		}
	}
	for m, n := range share { // 1500 expected, standard deviation 32
		if n < 1300 || n > 1700 {
			t.Errorf("member %s has %d of %d files", m, n, total)
		}
	}
}
