package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/did"
	"github.com/anamnesis-health/anamnesis/protocol"
)

func (c *cli) didCommand() *cobra.Command {
	return family("did", "anyone", "Names that other programs know: did:key of wallets, did:web of members and practitioners", c.didShow(), c.didResolve())
}

// webDID is a did:web at a gateway, or "" if its address is no host name.
func webDID(gateway string, path ...string) string {
	_, host, found := strings.Cut(gateway, "://")
	if !found {
		host = gateway
	}
	id, err := did.Web(strings.TrimSuffix(host, "/"), path...)
	if err != nil {
		return ""
	}
	return id
}

// ownDID is one name of whoever asks for their own.
type ownDID struct {
	Of  string             `json:"of"`
	DID string             `json:"did"`
	Web string             `json:"web,omitempty"`
	Key protocol.PublicKey `json:"key"`
}

func (c *cli) didShow() *cobra.Command {
	cmd := c.command(&cobra.Command{
		Use:   "show",
		Short: "Show your own DIDs: one for each journal, or those of --as",
		Long: `Shows the did:key of each journal of the wallet: whoever is shown one learns nothing of the others. With --as FILE it shows
the member's or practitioner's did:key and the did:web whose document their gateway serves.`,
		Example: `
anamnesis did show
anamnesis did show --as dr-ada.actor`,
	}, func(context.Context, []string) error {
		views, err := c.ownDIDs()
		if err != nil {
			return err
		}
		return c.show(views, func(out io.Writer) {
			for _, v := range views {
				fields(out, v.Of, v.DID, "", v.Web)
			}
		})
	})
	cmd.Flags().StringVar(&c.journal, "journal", "", "only this journal of the wallet, by `NAME` or id")
	return cmd
}

func (c *cli) ownDIDs() ([]ownDID, error) {
	if c.as != "" {
		a, err := c.openActor()
		if err != nil {
			return nil, err
		}
		path := "members"
		if a.Kind == protocol.ActorPractitioner {
			path = "practitioners"
		}
		return []ownDID{{Of: a.Name, DID: did.Key(a.Key.Public()), Key: a.Key.Public(), Web: webDID(c.gatewayOf(a.Network), path, fmt.Sprintf("%x", a.ID[:]))}}, nil
	}
	p, err := c.openWallet()
	if err != nil {
		return nil, err
	}
	views := []ownDID{}
	for _, j := range p.Journals() {
		if c.journal != "" && c.journal != j.Nickname && c.journal != j.ID.String() {
			continue
		}
		keys, err := p.Keys(j.ID)
		if err != nil {
			return nil, err
		}
		views = append(views, ownDID{Of: j.Nickname, DID: did.Key(keys.Signing.Public()), Key: keys.Signing.Public()})
	}
	if len(views) == 0 {
		return nil, failed("no-journal", "the wallet has no such journal", "`anamnesis wallet show` lists them.")
	}
	return views, nil
}

// resolvedDID is a document with the keys that count in it.
type resolvedDID struct {
	Document did.Document         `json:"document"`
	Keys     []protocol.PublicKey `json:"keys"` // that count now; none: without standing
}

func (c *cli) didResolve() *cobra.Command {
	return c.command(&cobra.Command{
		Use:   "resolve DID",
		Short: "Get the document of a did:key or did:web, and check its form",
		Long: `Resolves a did:key by itself and a did:web from the server it names, with no redirects. A document without a key that counts
is of somebody who is suspended, revoked, expired or gone. What a key may do on the ledger is the registry's to say.`,
		Example: `
anamnesis did resolve did:key:z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2
anamnesis did resolve did:web:localhost%3A8080`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, args []string) error {
		d, err := did.Resolve(ctx, args[0])
		if err != nil {
			return failed("did", printable(err.Error()), "Check the DID; a did:web's server must be reachable and serve the document itself.")
		}
		keys, err := d.Keys()
		if err != nil {
			return err
		}
		v := resolvedDID{Document: d, Keys: append([]protocol.PublicKey{}, keys...)}
		return c.show(v, func(out io.Writer) {
			fields(out, "subject", d.ID, "controller", d.Controller, "also", strings.Join(d.AlsoKnownAs, " "))
			for _, m := range d.VerificationMethod {
				fields(out, "key", m.PublicKeyMultibase)
			}
			if len(keys) == 0 {
				fmt.Fprintln(out, "No key counts now: whoever this is has no standing.")
			}
		})
	})
}
