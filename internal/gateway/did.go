package gateway

import (
	"net/http"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/did"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/internal/ledger/registry"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// DID documents of members and practitioners. The name in them is this gateway's as the network knows it, never the Host of a request.

var noDID = notFound("no-did-web", "This gateway has no host name to make a did:web of", "Its operator gives it one; IP addresses cannot stand in a did:web.")

func (s *server) getOwnDID(w http.ResponseWriter, _ *http.Request) error {
	return s.memberDID(w, s.Member)
}

func (s *server) getMemberDID(w http.ResponseWriter, r *http.Request) error {
	which, err := id(protocol.ParseMemberID, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.memberDID(w, which, "members", which.String())
}

// memberDID answers with the document of a member that lies at this gateway under the path.
func (s *server) memberDID(w http.ResponseWriter, which protocol.MemberID, path ...string) error {
	at, err := did.Web(s.Gateways[s.Member], path...)
	if err != nil {
		return noDID
	}
	var row registry.MemberRow
	err = s.view(func(v *ledger.View) error {
		var ok bool
		row, ok, err = registry.Member(v, which)
		if err == nil && !ok {
			err = notFound("no-member", "There is no such member", "The members are listed at /v1/members.")
		}
		return err
	})
	if err != nil {
		return err
	}
	subject := did.Subject{DID: at, Key: row.Member.Key, Standing: !row.Removed, Registry: s.origin() + "/v1/members"}
	if own, err := did.Web(s.Gateways[which]); err == nil && own != at {
		subject.Also = []string{own}
	}
	return replyDID(w, subject)
}

func (s *server) getPractitionerDID(w http.ResponseWriter, r *http.Request) error {
	who, err := id(protocol.ParsePractitionerID, r.PathValue("id"))
	if err != nil {
		return err
	}
	at, err := did.Web(s.Gateways[s.Member], "practitioners", who.String())
	if err != nil {
		return noDID
	}
	var row registry.PractitionerRow
	standing := false
	err = s.view(func(v *ledger.View) error {
		var ok bool
		if row, ok, err = registry.Practitioner(v, who); err != nil {
			return err
		}
		if !ok {
			return noPractitioner
		}
		actor, reason, err := registry.Lookup(v, protocol.PractitionerSigner(who, row.Key), s.time(v))
		standing = reason == protocol.Accepted && actor.Credential
		return err
	})
	if err != nil {
		return err
	}
	subject := did.Subject{DID: at, Key: row.Key, Standing: standing, Registry: s.origin() + "/v1/practitioners/" + who.String()}
	if member, err := did.Web(s.Gateways[s.Member], "members", row.Member.String()); err == nil {
		subject.Controller = member
	}
	if home, err := did.Web(s.Gateways[row.Member], "practitioners", who.String()); err == nil && home != at {
		subject.Also = []string{home}
	}
	return replyDID(w, subject)
}

// origin is the URL of this gateway, as its did:web has it.
func (s *server) origin() string {
	name, err := did.Web(s.Gateways[s.Member])
	if err != nil {
		return ""
	}
	at, err := did.URL(name)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(at, "/.well-known/did.json")
}

func replyDID(w http.ResponseWriter, s did.Subject) error {
	return replyType(w, http.StatusOK, did.MediaType, did.WebDocument(s))
}
