package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

const defaultGateway = "http://127.0.0.1:8080"

// purse is an opened wallet with where it came from, so that it can be put back.
type purse struct {
	*wallet.Wallet
	path       string
	raw        []byte
	passphrase string
}

func (c *cli) walletFile() (string, error) {
	if c.walletPath != "" {
		return c.walletPath, nil
	}
	if p := os.Getenv("ANAMNESIS_WALLET"); p != "" {
		return p, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", usage("there is no home folder for the wallet: give --wallet")
	}
	return filepath.Join(home, ".anamnesis", "wallet"), nil
}

func (c *cli) openWallet() (*purse, error) {
	path, err := c.walletFile()
	if err != nil {
		return nil, err
	}
	raw, err := wallet.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failed("no-wallet", "there is no wallet at "+path, "Make one with `anamnesis wallet new`, or name another with --wallet.")
	}
	if err != nil {
		return nil, err
	}
	pass, err := c.passphrase(path)
	if err != nil {
		return nil, err
	}
	w, err := wallet.Decrypt(raw, pass)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &purse{Wallet: w, path: path, raw: raw, passphrase: pass}, nil
}

// save puts the wallet back, unless another command changed it meanwhile.
func (c *cli) save(p *purse) error {
	data, err := p.Encrypt(p.passphrase, wallet.WithWorkFactor(c.workFactor))
	if err != nil {
		return err
	}
	if err := wallet.ReplaceFile(p.path, p.raw, data); err != nil {
		return err
	}
	p.raw = data
	return nil
}

// patient is a journal's controller, at a gateway.
type patient struct {
	*client.Client
	purse   *purse
	journal wallet.Journal
	keys    *wallet.JournalKeys
}

// patient opens the wallet, picks the journal and dials.
func (c *cli) patient(ctx context.Context) (*patient, error) {
	p, err := c.openWallet()
	if err != nil {
		return nil, err
	}
	j, keys, err := c.pickJournal(p)
	if err != nil {
		return nil, err
	}
	net, err := c.dial(ctx, p.Network)
	if err != nil {
		return nil, err
	}
	return &patient{Client: net, purse: p, journal: j, keys: keys}, nil
}

func (c *cli) pickJournal(p *purse) (wallet.Journal, *wallet.JournalKeys, error) {
	if len(p.Journals()) == 0 {
		return wallet.Journal{}, nil, failed("no-journal", "the wallet has no journal yet", "Open one with `anamnesis journal open`.")
	}
	j, err := p.Find(c.journal)
	if err != nil {
		if c.journal == "" {
			err = usage("the wallet has %d journals: name one with --journal", len(p.Journals()))
		}
		return j, nil, err
	}
	keys, err := p.Keys(j.ID)
	return j, keys, err
}

// dial reaches the gateway that the flag, the file or the default names, and insists on the file's network.
func (c *cli) dial(ctx context.Context, n wallet.Network) (*client.Client, error) {
	net, err := client.Dial(ctx, c.gatewayOf(n), n.Chain)
	if err == nil && n.Policy != "" {
		net.Trust(n.Policy)
	}
	return net, err
}

// anyNetwork dials for what needs no key: with --as that key's network; else the wallet's, if it can be opened without asking anybody.
func (c *cli) anyNetwork(ctx context.Context) (*client.Client, error) {
	var n wallet.Network
	switch {
	case c.gateway != "":
	case c.as != "":
		a, err := c.openActor()
		if err != nil {
			return nil, err
		}
		n = a.Network
	case c.passphraseFile != "" || os.Getenv(passphraseVariable) != "":
		if p, err := c.openWallet(); err == nil {
			n = p.Network
		}
	}
	return c.dial(ctx, n)
}

// gatewayOf is the address to talk to.
func (c *cli) gatewayOf(n wallet.Network) string {
	switch {
	case c.gateway != "":
		return c.gateway
	case n.Gateway != "":
		return n.Gateway
	}
	return defaultGateway
}

// staff is a member or practitioner, at a gateway.
type staff struct {
	*client.Client
	actor *wallet.Actor
	path  string
}

func (s *staff) identity() client.Identity { return client.Actor(s.actor) }

// staff opens the key of --as and dials.
func (c *cli) staff(ctx context.Context) (*staff, error) {
	a, err := c.openActor()
	if err != nil {
		return nil, err
	}
	net, err := c.dial(ctx, a.Network)
	if err != nil {
		return nil, err
	}
	return &staff{Client: net, actor: a, path: c.as}, nil
}

func (c *cli) openActor() (*wallet.Actor, error) {
	if c.as == "" {
		return nil, &failure{Code: "usage", Title: "say who acts: --as FILE, with a member's or a practitioner's key", exit: exitUsage,
			Detail: "A development network keeps its members' keys in DIR/members; `anamnesis practitioner register` makes practitioners'."}
	}
	raw, err := wallet.ReadFile(c.as)
	if err != nil {
		return nil, err
	}
	pass, err := c.passphrase(c.as)
	if err != nil {
		return nil, err
	}
	a, err := wallet.DecryptActor(raw, pass)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.as, err)
	}
	return a, nil
}

// member is staff that must be a member, for what only organisations do.
func (c *cli) member(ctx context.Context) (*staff, error) {
	s, err := c.staff(ctx)
	if err == nil && s.actor.Kind != protocol.ActorMember {
		err = &failure{Code: "usage", Title: "this needs a member's key; " + c.as + " is a practitioner's", exit: exitUsage,
			Detail: "A development network keeps its members' keys in DIR/members."}
	}
	return s, err
}

// memberID is whose member the staff is.
func (s *staff) memberID(ctx context.Context) (protocol.MemberID, error) {
	if s.actor.Kind == protocol.ActorMember {
		return protocol.MemberID(s.actor.ID), nil
	}
	p, err := s.Practitioner(ctx, protocol.PractitionerID(s.actor.ID))
	return p.Member, err
}

// adopt makes the network part of a wallet that has none yet: from now on the wallet insists on its id and its trust root. The trust root
// must be the one that follows from the genesis.
func adopt(w *wallet.Wallet, net *client.Client, gateway string) error {
	policy, err := proof.NetworkPolicy(net.Genesis)
	if err != nil {
		return err
	}
	text, err := policy.Text()
	if err != nil {
		return err
	}
	if string(text) != net.Network.Policy {
		return &failure{Code: "wrong-policy", Title: "the gateway's trust policy is not the one that follows from the network's genesis",
			Detail: "Do not trust this gateway. Ask another member's with --gateway.", exit: exitProof}
	}
	w.Network = wallet.Network{Chain: net.Network.Chain, Gateway: gateway, Policy: string(text)}
	return nil
}

// names puts words to ids: members from the network, classes through the handle.
type names struct {
	members []api.Member
	labels  map[protocol.Label]fhir.Class
	net     *client.Client
	as      client.Identity                    // who asks for practitioners' names; nil: nobody the network knows, and it tells none
	known   map[protocol.PractitionerID]string // in full
	authors map[protocol.PractitionerID]string // their members
}

// namesOf knows the members; with a handle it knows that journal's classes too.
func namesOf(net *client.Client, h *protocol.Handle) *names {
	n := &names{members: net.Network.Members, net: net, known: map[protocol.PractitionerID]string{}, authors: map[protocol.PractitionerID]string{}, labels: map[protocol.Label]fhir.Class{}}
	if h != nil {
		for _, class := range fhir.Classes() {
			n.labels[h.Label(string(class))] = class
		}
	}
	return n
}

func (n *names) member(id protocol.MemberID) string {
	for _, m := range n.members {
		if m.ID == id {
			return m.Name
		}
	}
	return "member " + short(id)
}

func (n *names) label(l protocol.Label) string {
	if class, ok := n.labels[l]; ok {
		return string(class)
	}
	return "label " + short(l)
}

// practitioner is "Name (role at member)", as far as the network tells.
func (n *names) practitioner(ctx context.Context, id protocol.PractitionerID) string {
	if name, ok := n.known[id]; ok {
		return name
	}
	name := "practitioner " + short(id)
	if p, err := n.net.PractitionerName(ctx, n.as, id); err == nil {
		name = personName(p) + " (" + p.Role.String() + " at " + n.member(p.Member) + ")"
	}
	n.known[id] = name
	return name
}

// personName is a practitioner's name if it opens the commitment on the ledger, else its id.
func personName(p api.Practitioner) string {
	if p.Name != nil && p.Name.Commitment() == p.Commitment {
		return p.Name.Name
	}
	return "practitioner " + short(p.ID)
}

// slug is a member's name as it can be typed: "northside-general-hospital".
func slug(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-") && (r == ' ' || r == '-'):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}

// findMember finds a member by its id, the beginning of it, its name, or its name as slug.
func (n *names) findMember(text string) (api.Member, error) {
	wanted := strings.TrimSpace(text)
	var ids []protocol.MemberID
	for _, m := range n.members {
		if strings.EqualFold(m.Name, wanted) || slug(m.Name) == strings.ToLower(wanted) {
			return m, nil
		}
		ids = append(ids, m.ID)
	}
	if id, err := pick("member", wanted, ids); err == nil {
		return n.members[slices.Index(ids, id)], nil
	}
	var slugs []string
	for _, m := range n.members {
		slugs = append(slugs, slug(m.Name))
	}
	f := usage("there is no member %q", printable(text))
	f.Detail = "There are " + strings.Join(slugs, ", ") + "."
	return api.Member{}, f
}

// classes reads class names as people list them: a,b or repeated flags.
func classes(texts []string) (out []fhir.Class, err error) {
	for _, text := range texts {
		class, ok := fhir.ParseClass(strings.ToLower(strings.TrimSpace(text)))
		if !ok {
			f := usage("there is no class %q", printable(text))
			f.Detail = "There are " + classNames() + "."
			return nil, f
		}
		if !slices.Contains(out, class) {
			out = append(out, class)
		}
	}
	return out, nil
}

func classNames() string {
	var all []string
	for _, class := range fhir.Classes() {
		all = append(all, string(class))
	}
	return strings.Join(all, ", ")
}

func labelsOf(h protocol.Handle, of []fhir.Class) (out []protocol.Label) {
	for _, class := range of {
		out = append(out, h.Label(string(class)))
	}
	return out
}
