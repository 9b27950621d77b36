// Package demo plays the main job from end to end on a real network in this process: enrol, import, refuse, grant, read and compare, end by
// itself, revoke, resist a break-in, show the log, prove it offline, and catch tampering. Every step uses the code paths that users use,
// through the gateways' HTTP API; only the windows are short. A step that does not hold makes the whole run fail.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/node"
	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// Options of a run.
type Options struct {
	Members  int      // nodes in the network
	Patients int      // histories to make up; ignored with Data
	Seed     uint64   // of the made-up histories
	Data     []string // FHIR files or folders to use instead
	Keep     string   // folder in which to leave the network; "": a temporary one, removed
	JSON     bool     // one object on Out instead of the story
	Terminal bool     // Err is a terminal: draw progress bars
	Out, Err io.Writer
	// Stay, if not nil, is called after the story with the network still up; it returns when the user has had enough.
	Stay func(ctx context.Context, net *node.DevNet, walletFile string)
}

// Result is what a run did, as --json prints it.
type Result struct {
	OK               bool    `json:"ok"`
	Steps            []Step  `json:"steps"`
	Patients         int     `json:"patients"`
	ResourcesIn      int     `json:"resources_in"`
	ResourcesRead    int     `json:"resources_read_back"`
	ResourcesProblem int     `json:"resources_reported"`
	Records          int     `json:"records"`
	Entries          uint64  `json:"entries"`
	Reads            Reads   `json:"reads"`
	Receipts         int     `json:"receipts_verified"`
	Tampering        int     `json:"tampering_caught"`
	Seconds          float64 `json:"seconds"`
}

// Reads counts access requests.
type Reads struct {
	Permitted int `json:"permitted"`
	Refused   int `json:"refused"`
}

// Step is one act of the story.
type Step struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// play is a run under way.
type play struct {
	Options
	dir    string
	net    *node.DevNet
	at     []*client.Client // a client of each member's gateway
	doctor *wallet.Actor    // emergency physician of the first member
	other  *wallet.Actor    // physician of the second member, to whom nobody granted anything
	data   *fhir.Loaded
	cast   []*patient
	lead   *patient // has allergies and a sensitive class: the story's main part
	export string   // the lead's exported journal
	story  *narrator

	// the second act
	claimed   *claimed
	reviewer  *wallet.Actor
	daughter  *wallet.Actor
	guardians []*wallet.Guardian
	spent     []protocol.RecordID // that steps have used up
	Result
}

// patient is one person in the story.
type patient struct {
	name    string
	index   int // among the arrangement's patients
	wallet  *wallet.Wallet
	keys    *wallet.JournalKeys
	groups  []fhir.Group
	written []client.Written
	wide    protocol.ContractID // the care-team contract under which everything is read back
}

// errStep marks a step that did not hold.
var errStep = errors.New("the step did not hold")

func failed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errStep, fmt.Sprintf(format, args...))
}

// Run plays the story. It returns false if a step did not hold, and an error if it could not be played.
func Run(ctx context.Context, o Options) (bool, error) {
	p := &play{Options: o, story: &narrator{out: o.Out, err: o.Err, quiet: o.JSON, terminal: o.Terminal}}
	p.Steps = []Step{}
	start := time.Now()
	err := p.perform(ctx)
	p.OK = err == nil
	p.Seconds = time.Since(start).Round(10 * time.Millisecond).Seconds()
	if p.net != nil && len(p.at) > 0 {
		p.Entries = p.net.Nodes[0].Ledger().Head().Size
	}
	p.report(err)
	if err == nil && p.Stay != nil {
		if file, saveErr := p.saveWallets(); saveErr == nil {
			p.Stay(ctx, p.net, file)
		}
	}
	return p.OK, errors.Join(ignoreStep(err), p.close())
}

func ignoreStep(err error) error {
	if errors.Is(err, errStep) {
		return nil // told as a step; not a failure to play
	}
	return err
}

func (p *play) close() error {
	var errs []error
	if p.net != nil {
		errs = append(errs, p.net.Stop())
	}
	if p.Keep == "" && p.dir != "" {
		errs = append(errs, os.RemoveAll(p.dir))
	}
	return errors.Join(errs...)
}

// perform plays the acts in order and stops at the first that does not hold: what follows stands on it.
func (p *play) perform(ctx context.Context) error {
	for _, act := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"network", p.network},
		{"enrol", p.enrol},
		{"import", p.importAll},
		{"refused-without-consent", p.refusedWithoutConsent},
		{"grant-and-read", p.grantAndRead},
		{"other-class-refused", p.otherClassRefused},
		{"read-back-everything", p.readBackEverything},
		{"expires-by-itself", p.expiresByItself},
		{"revoked-at-once", p.revokedAtOnce},
		{"break-in-fails", p.breakInFails},
		{"log", p.showLog},
		{"receipts", p.receipts},
		{"complete-offline", p.completeOffline},
		{"tampering-caught", p.tamperingCaught},

		{"claim-provisional-journal", p.claimProvisional},
		{"claim-wrong-ways-fail", p.claimWrongWays},
		{"claim-takes-over", p.claimTakesOver},
		{"breakglass-refused-without-card", p.breakglassRefused},
		{"breakglass-reads", p.breakglassReads},
		{"breakglass-reviewed", p.breakglassReviewed},
		{"delegate-reads", p.delegateReads},
		{"delegate-ends-by-itself", p.delegateEnds},
		{"device-cut-off", p.deviceCutOff},
		{"device-keys-rotated", p.deviceRotated},
		{"standing-suspended", p.standingSuspended},
		{"standing-resolves", p.standingResolves},
		{"amend-superseded", p.amendSuperseded},
		{"amend-disputed", p.amendDisputed},
		{"amend-own-words", p.amendOwnWords},
		{"erase-record", p.eraseRecord},
		{"erase-under-hold", p.eraseHeld},
		{"rights-who-read-and-can", p.rightsWho},
		{"rights-everything-in-one-file", p.rightsExport},
		{"erase-class", p.eraseClass},
		{"erase-contributions", p.eraseContributions},
		{"erase-everything", p.eraseEverything},
		{"erase-still-complete", p.eraseVerifies},
		{"recover-vetoed", p.recoverVetoed},
		{"recover-lost-wallet", p.recoverLost},
		{"rights-everything-withdrawn", p.rightsWithdrawn},
	} {
		p.story.begin(act.name)
		detail, err := act.do(ctx)
		if err != nil {
			detail = err.Error()
		}
		p.Steps = append(p.Steps, Step{Name: act.name, OK: err == nil, Detail: detail})
		p.story.end(act.name, detail, err)
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *play) report(err error) {
	if p.JSON {
		e := json.NewEncoder(p.Out)
		e.SetIndent("", "  ")
		_ = e.Encode(p.Result)
		return
	}
	p.story.close(p.Result, err)
}
