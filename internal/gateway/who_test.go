package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger/ledgertest"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// Who may do what: every actor × every endpoint → status and code, in one reviewed file.
func TestWhoMayDoWhat(t *testing.T) {
	s := newSite(t)
	close(s.stopping) // streams say what there is, and end
	e := s.emergency()
	actors := append(s.actors(), actor{"medic", e.medic}, actor{"chief", e.chief}, actor{"kid", e.kid}, actor{"son", e.son})
	var out strings.Builder
	fmt.Fprintf(&out, "%-44s", "")
	for _, a := range actors {
		fmt.Fprintf(&out, " %-10s", a.name)
	}
	out.WriteString("\n")
	seen := map[string]bool{}
	for _, q := range append(s.questions(), e.questions()...) {
		fmt.Fprintf(&out, "%-44s", q.name)
		for _, a := range actors {
			r := s.call(a.who, q.method, q.uri, q.body)
			if r.status >= 400 && q.uri != api.PathHealth {
				r.problem(t)
			}
			fmt.Fprintf(&out, " %-10d", r.status)
		}
		out.WriteString("\n")
		seen[q.route] = true
	}
	for _, r := range (&server{Backend: s.backend}).routes() {
		if !seen[r.method+" "+r.path] {
			t.Errorf("no question for %s %s", r.method, r.path)
		}
	}
	const path = "testdata/who.golden"
	if *rewrite {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, []byte(out.String())) {
		t.Errorf("who may do what has changed (-rewrite to accept):\n%s", out.String())
	}
}

type actor struct {
	name string
	who  *ledgertest.Who
}

func (s *site) actors() []actor {
	_, stranger := ledgertest.Member("stranger")
	forged := *s.alice // Alice's id with a key that is not hers
	var pub protocol.PublicKey
	forged.Key, pub = ledgertest.Key("mallory")
	forged.Signer = protocol.PatientSigner(s.alice.Journal(), pub)
	asMember := *s.alice // the right key in the wrong capacity
	asMember.Signer.Kind = protocol.ActorMember
	return []actor{{"unsigned", nil}, {"stranger", stranger}, {"forged", &forged}, {"as-member", &asMember}, {"m1", s.m1}, {"m2", s.m2},
		{"doctor", s.doctor}, {"nurse", s.nurse}, {"suspended", s.suspended}, {"alice", s.alice}, {"bob", s.bob}}
}

type question struct {
	name, route, method, uri string
	body                     any
}

// questions has each route, and each right by which it can be asked, for things that are there and that are not.
func (s *site) questions() []question {
	j, none := s.alice.Journal().String(), protocol.JournalID{9}.String()
	put := func(path string, from, to string) string { return strings.Replace(path, from, to, 1) }
	file := put(api.PathFile, "{hash}", s.record.Ciphertext.String())
	other := []byte("another file")
	shares := api.ShareRequest{Generation: 1, Records: []protocol.RecordID{s.record.Record}, Capsules: [][]byte{make([]byte, threshold.CapsuleBytes)}}
	doctor := protocol.PractitionerID(s.doctor.Signer.ID)
	envelope := s.w.Envelope(s.m1, protocol.JournalID{}, &protocol.SetPractitioner{Practitioner: protocol.PractitionerID{1}, Key: protocol.PublicKey{1}, Role: protocol.RoleNurse,
		Status: protocol.PractitionerActive, ValidUntil: s.w.Time + 1e6, Commitment: protocol.Hash{1}}).Envelope
	var out []question
	add := func(name, method, path, uri string, body any) {
		out = append(out, question{name: name, route: method + " " + path, method: method, uri: uri, body: body})
	}
	add("network", "GET", api.PathNetwork, api.PathNetwork, nil)
	add("health", "GET", api.PathHealth, api.PathHealth, nil)
	add("openapi", "GET", api.PathOpenAPI, api.PathOpenAPI, nil)
	add("members", "GET", api.PathMembers, api.PathMembers, nil)
	add("submit", "POST", api.PathActions, api.PathActions, api.Submission{Envelopes: [][]byte{envelope}})
	add("action", "GET", api.PathAction, put(api.PathAction, "{id}", s.asked.ID.String()), nil)
	add("action, none", "GET", api.PathAction, put(api.PathAction, "{id}", protocol.Hash{1}.String()), nil)
	add("checkpoint", "GET", api.PathCheckpoint, api.PathCheckpoint+"?size=3&max_age_ms=5000", nil)
	add("log", "GET", api.PathTile, "/v1/log/checkpoint", nil)
	add("log tile", "GET", api.PathTile, "/v1/log/tile/0/000.p/5", nil)
	add("consistency", "GET", api.PathConsistency, api.PathConsistency+"?from=3&to=9", nil)
	add("sponsor", "POST", api.PathSponsor, api.PathSponsor, api.Sponsor{Journal: protocol.JournalID{5}, Controller: protocol.PublicKey{5}})
	add("practitioner", "GET", api.PathPractitioner, put(api.PathPractitioner, "{id}", doctor.String()), nil)
	add("practitioner, none", "GET", api.PathPractitioner, put(api.PathPractitioner, "{id}", none), nil)
	add("practitioners of m1", "GET", api.PathPractitioners, put(api.PathPractitioners, "{id}", protocol.MemberID(s.m1.Signer.ID).String()), nil)
	add("practitioners of nobody", "GET", api.PathPractitioners, put(api.PathPractitioners, "{id}", none), nil)
	add("name m1's practitioner", "PUT", api.PathPractitioner, put(api.PathPractitioner, "{id}", doctor.String()), s.names[doctor])
	add("name m2's practitioner", "PUT", api.PathPractitioner, put(api.PathPractitioner, "{id}", protocol.PractitionerID(s.nurse.Signer.ID).String()),
		s.names[protocol.PractitionerID(s.nurse.Signer.ID)])
	add("did", "GET", api.PathDID, api.PathDID, nil)
	add("did of m2", "GET", api.PathMemberDID, put(api.PathMemberDID, "{id}", protocol.MemberID(s.m2.Signer.ID).String()), nil)
	add("did of nobody", "GET", api.PathMemberDID, put(api.PathMemberDID, "{id}", none), nil)
	add("did of the doctor", "GET", api.PathPersonDID, put(api.PathPersonDID, "{id}", doctor.String()), nil)
	add("did of no doctor", "GET", api.PathPersonDID, put(api.PathPersonDID, "{id}", none), nil)
	for _, p := range []struct{ name, path string }{{"journal", api.PathJournal}, {"sealing", api.PathSealing}, {"entries", api.PathEntries}, {"contracts", api.PathContracts},
		{"records", api.PathRecords}, {"erasures", api.PathErasures}, {"holds", api.PathHolds}, {"amendments", api.PathAmendments}, {"proof", api.PathProof}, {"control", api.PathControl}, {"readers", api.PathReaders},
		{"disclosures", api.PathDisclosures}} {
		add(p.name+" of alice", "GET", p.path, put(p.path, "{id}", j), nil)
		add(p.name+" of nobody", "GET", p.path, put(p.path, "{id}", none), nil)
	}
	add("claim package, not provisional", "POST", api.PathClaims, api.PathClaims, api.ClaimPackage{Lookup: make([]byte, 16), Journal: s.alice.Journal(),
		Sealed: []byte{1}, DateOfBirth: "1980-02-03"})
	add("claim, no such code", "POST", api.PathClaimOpen, api.PathClaimOpen, api.ClaimOpen{Lookup: make([]byte, 16), DateOfBirth: "1980-02-03"})
	add("agree, no such code", "POST", api.PathClaimAgree, api.PathClaimAgree, api.ClaimAgree{Lookup: make([]byte, 16), DateOfBirth: "1980-02-03",
		Code: protocol.PublicKey{1}, CodeProof: make([]byte, 64), Controller: protocol.PublicKey{2}, Recipient: make([]byte, 32)})
	for _, e := range []struct {
		name  string
		index uint64
	}{{"alice's grant", s.granted.First}, {"the doctor's access", s.asked.First}, {"the genesis", 0}, {"no entry", 1 << 40}} {
		add("receipt of "+e.name, "GET", api.PathReceipt, put(api.PathReceipt, "{index}", fmt.Sprint(e.index)), nil)
	}
	for _, in := range []struct{ name, id string }{{"alice", j}, {"nobody", none}} {
		ask := api.Subscribe{Way: "webhook", Target: "https://hook.example/", Nonce: make([]byte, 16)}
		raw, err := json.Marshal(ask)
		if err != nil {
			s.t.Fatal(err)
		}
		one := strings.NewReplacer("{id}", in.id, "{hash}", hashOf(raw).String())
		add("events of "+in.name, "GET", api.PathEvents, put(api.PathEvents, "{id}", in.id)+"?from=0", nil)
		add("subscribe to "+in.name, "PUT", api.PathSubscription, one.Replace(api.PathSubscription), ask)
		add("subscriptions of "+in.name, "GET", api.PathSubscriptions, put(api.PathSubscriptions, "{id}", in.id), nil)
		add("confirm for "+in.name, "PUT", api.PathConfirmation, one.Replace(api.PathConfirmation), api.Confirmation{Code: "1"})
		add("unsubscribe "+in.name, "DELETE", api.PathSubscription, one.Replace(api.PathSubscription), nil)
	}
	add("accesses", "GET", api.PathAccesses, api.PathAccesses, nil)
	add("access", "GET", api.PathAccess, put(api.PathAccess, "{id}", s.access.String()), nil)
	add("access, none", "GET", api.PathAccess, put(api.PathAccess, "{id}", none), nil)
	add("shares", "POST", api.PathShares, put(api.PathShares, "{id}", s.access.String()), shares)
	add("shares of no access", "POST", api.PathShares, put(api.PathShares, "{id}", none), shares)
	add("put file", "PUT", api.PathFile, put(api.PathFile, "{hash}", hashOf(other).String()), other)
	add("get file, no right named", "GET", api.PathFile, file, nil)
	add("get file by journal", "GET", api.PathFile, file+"?journal="+j, nil)
	add("get file by no journal", "GET", api.PathFile, file+"?journal="+none, nil)
	add("get file by bob's journal", "GET", api.PathFile, file+"?journal="+s.bob.Journal().String(), nil)
	add("get file by record", "GET", api.PathFile, file+"?record="+s.record.Record.String(), nil)
	add("get file by no record", "GET", api.PathFile, file+"?record="+none, nil)
	add("get file by access", "GET", api.PathFile, file+"?access="+s.access.String(), nil)
	add("get file by no access", "GET", api.PathFile, file+"?access="+none, nil)
	add("get no file by journal", "GET", api.PathFile, put(api.PathFile, "{hash}", protocol.Hash{1}.String())+"?journal="+j, nil)
	add("get no file by access", "GET", api.PathFile, put(api.PathFile, "{hash}", protocol.Hash{1}.String())+"?access="+s.access.String(), nil)
	return out
}

// An outsider's answers do not tell a journal, file, access or entry that is there from one that is not.
func TestOutsidersLearnNothing(t *testing.T) {
	s := newSite(t)
	actors := map[string]*ledgertest.Who{}
	for _, a := range s.actors() {
		actors[a.name] = a.who
	}
	j, none := s.alice.Journal().String(), protocol.JournalID{9}.String()
	fake := protocol.Hash{1}.String()
	file := s.record.Ciphertext.String()
	pairs := [][2]string{
		{"/v1/journals/" + j + "/entries", "/v1/journals/" + none + "/entries"},
		{"/v1/journals/" + j + "/proof", "/v1/journals/" + none + "/proof"},
		{"/v1/journals/" + j + "/records", "/v1/journals/" + none + "/records"},
		{"/v1/journals/" + j + "/erasures", "/v1/journals/" + none + "/erasures"},
		{"/v1/journals/" + j + "/contracts", "/v1/journals/" + none + "/contracts"},
		{"/v1/journals/" + j + "/control", "/v1/journals/" + none + "/control"},
		{"/v1/journals/" + j + "/readers", "/v1/journals/" + none + "/readers"},
		{"/v1/journals/" + j + "/disclosures", "/v1/journals/" + none + "/disclosures"},
		{fmt.Sprintf("/v1/entries/%d/receipt", s.granted.First), "/v1/entries/99999999/receipt"},
		{"/v1/accesses/" + s.access.String(), "/v1/accesses/" + none},
		{"/v1/files/" + file + "?journal=" + j, "/v1/files/" + fake + "?journal=" + none},
		{"/v1/files/" + file + "?record=" + s.record.Record.String(), "/v1/files/" + fake + "?record=" + none},
		{"/v1/files/" + file + "?access=" + s.access.String(), "/v1/files/" + fake + "?access=" + none},
	}
	for _, name := range []string{"unsigned", "stranger", "forged", "as-member", "m2", "nurse", "bob"} {
		for _, p := range pairs {
			there, not := s.call(actors[name], "GET", p[0], nil), s.call(actors[name], "GET", p[1], nil)
			if there.status != not.status || !bytes.Equal(there.body, not.body) || there.status < 400 {
				t.Errorf("%s can tell %s (%d %s) from %s (%d %s)", name, p[0], there.status, there.body, p[1], not.status, not.body)
			}
		}
	}
	there, not := s.call(s.bob, "GET", "/v1/journals/"+j, nil), s.call(s.bob, "GET", "/v1/journals/"+none, nil)
	if there.status != 404 || !bytes.Equal(there.body, not.body) {
		t.Errorf("another patient can tell a journal from none: %s and %s", there.body, not.body)
	}
}

func hashOf(b []byte) protocol.Hash { return sha256.Sum256(b) }
