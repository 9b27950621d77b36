package journal

import (
	"slices"

	"github.com/anamnesis-health/anamnesis/internal/ledger/exec"
	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// DeviceRow is a key that signs for the patient beside the controller's.
type DeviceRow struct {
	_       struct{}      `cbor:",toarray"`
	Name    protocol.Hash // commitment to what the patient calls it
	Added   uint64        // UTC ms
	Revoked uint64        // UTC ms; 0 while it may sign
}

var devices = exec.Table[DeviceRow]{Name: "devices", Prefix: 'V'} // journal id ‖ public key

// devicesKeptMax bounds the rows of a journal, the revoked ones included.
const devicesKeptMax = 4 * protocol.DevicesJournalMax

func deviceKey(id protocol.JournalID, device protocol.PublicKey) []byte {
	return devices.Key(id[:], device[:])
}

// Patient is who signs for a journal: its controller, or one of its devices.
type Patient struct {
	Row
	Device bool
}

// Standing tells as whom a key may sign for a journal at a time. A journal whose recovery is due obeys nobody until it has changed hands,
// whether or not the entry that says so has been written: times decide.
func Standing(r state.Reader, id protocol.JournalID, by protocol.PublicKey, now uint64) (Patient, protocol.Reason, error) {
	row, ok, err := Get(r, id)
	switch {
	case err != nil:
		return Patient{}, 0, err
	case !ok:
		return Patient{}, protocol.UnknownSigner, nil
	case row.Due != 0 && row.Due <= now:
		return Patient{Row: row}, protocol.RecoveryDue, nil
	case row.Controller == by:
		return Patient{Row: row}, protocol.Accepted, nil
	}
	device, ok, err := devices.Read(r, deviceKey(id, by))
	switch {
	case err != nil:
		return Patient{}, 0, err
	case !ok:
		return Patient{}, protocol.WrongKey, nil
	case device.Revoked != 0:
		return Patient{}, protocol.DeviceRevoked, nil
	}
	return Patient{Row: row, Device: true}, protocol.Accepted, nil
}

// Authenticate checks that the signer may sign for the journal.
func Authenticate(c *exec.Context) (Patient, protocol.Reason) {
	if c.Signer.ID != [16]byte(c.Journal) {
		return Patient{}, protocol.WrongJournal
	}
	p, reason, err := Standing(c.Tx, c.Journal, c.Signer.Key, c.Time)
	if err != nil {
		panic(exec.Broken{Err: err})
	}
	return p, reason
}

// CheckClaim checks a claim of the context's journal by its signer. It writes nothing; the sponsor's key is the caller's to look up.
func CheckClaim(c *exec.Context, row Row, a *protocol.ClaimJournal, sponsorKey protocol.PublicKey) protocol.Reason {
	message := protocol.ClaimMessage(c.Chain, c.Journal, c.Signer.Key, a.Recipient)
	switch {
	case c.Signer.ID != [16]byte(c.Journal):
		return protocol.WrongJournal
	case !row.Provisional():
		return protocol.NotProvisional
	case protocol.ClaimCommitment(c.Chain, c.Journal, a.Code) != row.Claim:
		return protocol.WrongCode
	case c.Time >= row.ClaimUntil:
		return protocol.ClaimExpired
	case row.Controller == c.Signer.Key || a.Code == c.Signer.Key:
		return protocol.KeyInUse
	case !protocol.VerifySignature(a.Code, message, a.CodeProof), !protocol.VerifySignature(sponsorKey, message, a.Agreement):
		return protocol.BadProof
	}
	return protocol.Accepted
}

// Claim executes the action: from now on the signer controls the journal, for good.
func Claim(c *exec.Context, a *protocol.ClaimJournal, sponsorKey protocol.PublicKey) protocol.Reason {
	row, ok := journals.Get(c, key(c.Journal))
	if !ok {
		return protocol.UnknownJournal
	}
	if reason := CheckClaim(c, row, a, sponsorKey); reason != protocol.Accepted {
		return reason
	}
	row.Controller, row.Recipient, row.Guardians = c.Signer.Key, a.Recipient, a.Guardians
	row.Claim, row.ClaimUntil = protocol.Hash{}, 0
	journals.Put(c, key(c.Journal), row)
	return protocol.Accepted
}

// ReissueClaim executes the action.
func ReissueClaim(c *exec.Context, a *protocol.ReissueClaim) protocol.Reason {
	row := mine(c)
	if !row.Provisional() {
		return protocol.NotProvisional
	}
	row.Claim, row.ClaimUntil = a.Claim, c.Time+protocol.ClaimMillis
	journals.Put(c, key(c.Journal), row)
	return protocol.Accepted
}

// Rotate executes the action.
func Rotate(c *exec.Context, a *protocol.RotateController) protocol.Reason {
	row := mine(c)
	if row.Controller == a.Controller || devices.Has(c, deviceKey(c.Journal, a.Controller)) {
		return protocol.KeyInUse
	}
	if !protocol.VerifySignature(a.Controller, protocol.ControlMessage(c.Chain, c.Journal, a.Controller, a.Recipient), a.Proof) {
		return protocol.BadProof
	}
	if row.Provisional() && a.Recipient != row.Recipient {
		return protocol.NotNobodys
	}
	row.Controller, row.Recipient = a.Controller, a.Recipient
	journals.Put(c, key(c.Journal), row)
	return protocol.Accepted
}

// AddDevice executes the action.
func AddDevice(c *exec.Context, a *protocol.AddDevice) protocol.Reason {
	row := mine(c)
	switch at := deviceKey(c.Journal, a.Key); {
	case row.Controller == a.Key || devices.Has(c, at) || recoversTo(c, a.Key):
		return protocol.KeyInUse
	case !protocol.VerifySignature(a.Key, protocol.DeviceMessage(c.Chain, c.Journal, a.Key, a.Name), a.Proof):
		return protocol.BadProof
	}
	active, kept := 0, 0
	var oldest []byte
	var over uint64
	devices.All(c, devices.Key(c.Journal[:]), func(at []byte, d DeviceRow) bool {
		kept++
		if d.Revoked == 0 {
			active++
		} else if oldest == nil || d.Revoked < over {
			oldest, over = slices.Clone(at), d.Revoked
		}
		return true
	})
	if active >= protocol.DevicesJournalMax {
		return protocol.TooManyDevices
	}
	if kept >= devicesKeptMax {
		devices.Delete(c, oldest)
	}
	devices.Put(c, deviceKey(c.Journal, a.Key), DeviceRow{Name: a.Name, Added: c.Time})
	return protocol.Accepted
}

// RevokeDevice executes the action: from this block on the device signs nothing, and what it opened custodians no longer serve.
func RevokeDevice(c *exec.Context, a *protocol.RevokeDevice) protocol.Reason {
	at := deviceKey(c.Journal, a.Key)
	d, ok := devices.Get(c, at)
	if !ok {
		return protocol.UnknownDevice
	}
	if d.Revoked != 0 {
		return protocol.DeviceRevoked
	}
	d.Revoked = c.Time
	devices.Put(c, at, d)
	return protocol.Accepted
}

// revokeDevices cuts all devices off.
func revokeDevices(c *exec.Context, id protocol.JournalID) {
	var keys [][]byte
	var rows []DeviceRow
	devices.All(c, devices.Key(id[:]), func(at []byte, d DeviceRow) bool {
		if d.Revoked == 0 {
			d.Revoked = c.Time
			keys, rows = append(keys, slices.Clone(at)), append(rows, d)
		}
		return true
	})
	for i, at := range keys {
		devices.Put(c, at, rows[i])
	}
}

// mine is the row of the context's journal, whose patient has been authenticated.
func mine(c *exec.Context) Row {
	row, ok := journals.Get(c, key(c.Journal))
	if !ok {
		exec.Break("journal %s: its patient was authenticated, and it has no row", c.Journal)
	}
	return row
}

// Device is a device with its key.
type Device struct {
	Key protocol.PublicKey
	Row DeviceRow
}

// Devices lists a journal's devices by key, revoked ones too.
func Devices(r state.Reader, id protocol.JournalID) (out []Device, err error) {
	err = devices.ReadAll(r, devices.Key(id[:]), func(at []byte, row DeviceRow) bool {
		out = append(out, Device{Key: protocol.PublicKey(at[1+16:]), Row: row})
		return true
	})
	return out, err
}
