package gateway

import (
	"context"
	"net/http"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/registry"
	"github.com/anamnesis-health/anamnesis/protocol"
)

var noPractitioner = notFound("no-practitioner", "There is no such practitioner", "Check the id; a member registers its practitioners.")

// getPractitioner tells everybody what the ledger says of a practitioner, and whoever the network knows, the name.
func (s *server) getPractitioner(w http.ResponseWriter, r *http.Request) error {
	who, err := id(protocol.ParsePractitionerID, r.PathValue("id"))
	if err != nil {
		return err
	}
	var row registry.PractitionerRow
	known := r.Header.Get("Authorization") != ""
	err = s.view(func(v *ledger.View) error {
		if known {
			if _, err := s.ask(v, r); err != nil {
				return err
			}
		}
		var ok bool
		if row, ok, err = registry.Practitioner(v, who); err == nil && !ok {
			err = noPractitioner
		}
		return err
	})
	if err != nil {
		return err
	}
	out := practitioner(who, row)
	if known {
		out.Name = s.nameOf(r.Context(), who, row)
	}
	return reply(w, out)
}

// getPractitioners lists a member's practitioners to whoever the network knows, with the names that the member tells.
func (s *server) getPractitioners(w http.ResponseWriter, r *http.Request) error {
	of, err := id(protocol.ParseMemberID, r.PathValue("id"))
	if err != nil {
		return err
	}
	var ids []protocol.PractitionerID
	var rows []registry.PractitionerRow
	names := s.newPeople()
	err = s.view(func(v *ledger.View) error {
		if _, err := s.ask(v, r); err != nil {
			return err
		}
		_, ok, err := registry.Member(v, of)
		if err == nil && !ok {
			err = notFound("no-member", "There is no such member", "The members are listed at /v1/members.")
		}
		if err != nil {
			return err
		}
		ids, rows, err = registry.PractitionersOf(v, of)
		return err
	})
	if err != nil {
		return err
	}
	for i, who := range ids {
		names.practitioners[who] = &person{row: rows[i]}
	}
	names.ask(r.Context())
	out := make([]api.Practitioner, len(ids))
	for i, who := range ids {
		out[i] = practitioner(who, rows[i])
		out[i].Name = names.practitioners[who].name
	}
	return reply(w, out)
}

func practitioner(who protocol.PractitionerID, row registry.PractitionerRow) api.Practitioner {
	return api.Practitioner{ID: who, Member: row.Member, Role: row.Role, Status: statusName(row.Status), ValidUntil: row.ValidUntil, Key: row.Key, Commitment: row.Commitment}
}

func statusName(s protocol.PractitionerStatus) string {
	switch s {
	case protocol.PractitionerActive:
		return "active"
	case protocol.PractitionerSuspended:
		return "suspended"
	case protocol.PractitionerRevoked:
	}
	return "revoked"
}

// nameOf asks the practitioner's member for the name, and takes it only if it opens the commitment.
func (s *server) nameOf(ctx context.Context, who protocol.PractitionerID, row registry.PractitionerRow) *api.PractitionerName {
	ctx, cancel := context.WithTimeout(ctx, namesWait)
	defer cancel()
	name, ok := s.Name(ctx, row.Member, who)
	if !ok || name.Commitment() != row.Commitment {
		return nil
	}
	return &name
}

// putPractitioner keeps the name of one of this member's own practitioners, off the ledger.
func (s *server) putPractitioner(w http.ResponseWriter, r *http.Request) error {
	who, err := id(protocol.ParsePractitionerID, r.PathValue("id"))
	if err != nil {
		return err
	}
	var row registry.PractitionerRow
	err = s.view(func(v *ledger.View) error {
		a, err := s.ask(v, r)
		if err != nil {
			return err
		}
		if a.signer.Kind != protocol.ActorMember || a.actor.Member != s.Member {
			return problem(http.StatusForbidden, "not-entitled", "Only this gateway's own member names its practitioners here", "Sign with the member's key, at the member's gateway.")
		}
		var ok bool
		if row, ok, err = registry.Practitioner(v, who); err == nil && (!ok || row.Member != s.Member) {
			err = noPractitioner
		}
		return err
	})
	if err != nil {
		return err
	}
	var name api.PractitionerName
	if err := read(w, r, SmallBytesMax, &name); err != nil {
		return err
	}
	if err := checkName(name); err != nil {
		return err
	}
	if name.Commitment() != row.Commitment {
		return problem(http.StatusConflict, "commitment", "The name does not open the practitioner's commitment on the ledger",
			"Send the salt, name, speciality and licence that SetPractitioner committed to, or commit anew.")
	}
	if err := s.SetName(who, name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func checkName(n api.PractitionerName) error {
	if len(n.Salt) < saltBytesMin || len(n.Salt) > saltBytesMax {
		return bad("salt", "The salt is not of an acceptable length", "It is drawn at random, from 16 to 64 bytes.")
	}
	for _, text := range []string{n.Name, n.Speciality, n.Licence} {
		if len(text) > personNameBytesMax || !utf8.ValidString(text) || !printable(text) {
			return bad("name", "The name, speciality or licence is not acceptable", "Each is plain text of at most 200 bytes.")
		}
	}
	if n.Name == "" {
		return bad("name", "The name is missing", "Send the practitioner's name as patients know it.")
	}
	return nil
}

func printable(s string) bool {
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return false
		}
	}
	return true
}

// people puts names to signers, for one request: each is looked up once.
type people struct {
	s             *server
	members       map[protocol.MemberID]string
	practitioners map[protocol.PractitionerID]*person
}

type person struct {
	row  registry.PractitionerRow
	name *api.PractitionerName
}

func (s *server) newPeople() *people {
	return &people{s: s, members: map[protocol.MemberID]string{}, practitioners: map[protocol.PractitionerID]*person{}}
}

// note remembers that a signer appears.
func (p *people) note(v *ledger.View, signer protocol.Signer) error {
	switch signer.Kind {
	case protocol.ActorMember:
		return p.noteMember(v, protocol.MemberID(signer.ID))
	case protocol.ActorPractitioner:
		who := protocol.PractitionerID(signer.ID)
		if _, known := p.practitioners[who]; known {
			return nil
		}
		row, ok, err := registry.Practitioner(v, who)
		if err != nil || !ok {
			return err
		}
		p.practitioners[who] = &person{row: row}
		return p.noteMember(v, row.Member)
	case protocol.ActorLedger, protocol.ActorPatient, protocol.ActorGuardian, protocol.ActorDelegate:
	}
	return nil
}

func (p *people) noteMember(v *ledger.View, m protocol.MemberID) error {
	if _, known := p.members[m]; known {
		return nil
	}
	row, ok, err := registry.Member(v, m)
	if err == nil && ok {
		p.members[m] = row.Member.Name
	}
	return err
}

// ask asks the members for their practitioners' names, a few at a time. Who does not answer in time stays without one.
func (p *people) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, namesWait)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(namesAtOnce)
	var mu sync.Mutex
	asked := 0
	for who, one := range p.practitioners {
		if asked++; asked > namesMax {
			break
		}
		row := one.row
		group.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			name, ok := p.s.Name(ctx, row.Member, who)
			if !ok || name.Commitment() != row.Commitment {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			one.name = &name
			return nil
		})
	}
	_ = group.Wait()
}

// who is what a listing shows beside a signer's id.
func (p *people) who(signer protocol.Signer) *api.Who {
	switch signer.Kind {
	case protocol.ActorPatient, protocol.ActorGuardian, protocol.ActorDelegate:
		return &api.Who{Role: signer.Kind.String()}
	case protocol.ActorMember:
		name := p.members[protocol.MemberID(signer.ID)]
		return &api.Who{Name: name, Role: signer.Kind.String(), Member: name}
	case protocol.ActorPractitioner:
		one := p.practitioners[protocol.PractitionerID(signer.ID)]
		if one == nil {
			return nil
		}
		out := &api.Who{Role: one.row.Role.String(), Member: p.members[one.row.Member]}
		if one.name != nil {
			out.Name = one.name.Name
		}
		return out
	case protocol.ActorLedger:
	}
	return nil
}
