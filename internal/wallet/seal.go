package wallet

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"filippo.io/age"

	"github.com/anamnesis-health/anamnesis/internal/threshold"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// SealInput is one record to be: resources of one class, from one source, for one journal.
type SealInput struct {
	Chain      string
	Handle     protocol.Handle      // names the journal, and turns Class into the label
	Recipient  Recipient            // the journal's, from the ledger
	Custodians *threshold.PublicKey // the active collective key; nil seals to the patient alone (a sealed class)
	Record     protocol.RecordID    // random; zero: Seal draws one
	Class      string
	Source     Source // see NewSource
	Recorded   uint64 // UTC ms, before the year 2242
	Author     protocol.Signer
	Resources  [][]byte // each kept byte for byte; JSON by convention, not looked into
}

// Sealed is a record ready to go: File to the vaults, Action to the ledger (signed by the same author).
type Sealed struct {
	File     []byte
	Action   protocol.AddRecord
	Manifest *Manifest
}

// Entry is what the ledger says about a record: the context and the author's action.
type Entry struct {
	Chain   string
	Journal protocol.JournalID
	Author  protocol.Signer
	Action  protocol.AddRecord
}

// Entry is what the ledger will say once the action is in it.
func (s *Sealed) Entry() Entry {
	m := s.Manifest
	author := protocol.Signer{Kind: m.Author.Kind, ID: m.Author.ID, Key: m.Author.Key}
	return Entry{Chain: m.Chain, Journal: m.Journal, Author: author, Action: s.Action}
}

// NewRecordID draws a record's id.
func NewRecordID() (id protocol.RecordID) {
	_, _ = rand.Read(id[:])
	return id
}

// Seal makes a record's file and its commitments. sign makes an Ed25519 signature with the author's key, as in protocol.Sign.
// Errors wrap ErrText or ErrLimit for unacceptable input, and ErrSignature when sign does not sign with the author's key.
func Seal(in SealInput, sign func(message []byte) []byte) (*Sealed, error) {
	m, err := in.manifest()
	if err != nil {
		return nil, err
	}
	encoded, err := m.encode()
	if err != nil {
		return nil, err
	}
	if len(encoded) > ManifestBytesMax {
		return nil, fmt.Errorf("%w: a manifest of %d bytes, at most %d", ErrLimit, len(encoded), ManifestBytesMax)
	}
	signature := sign(manifestMessage(encoded))
	if !protocol.VerifySignature(in.Author.Key, manifestMessage(encoded), signature) {
		return nil, fmt.Errorf("%w: it was not made with the author's key", ErrSignature)
	}
	file, capsule, err := in.encrypt(m, pack(archive(encoded, signature, in.Resources, m.mtime())))
	if err != nil {
		return nil, err
	}
	s := &Sealed{File: file, Manifest: m, Action: protocol.AddRecord{
		Record: m.Record, Label: m.Label, Ciphertext: sha256.Sum256(file), Size: uint64(len(file)),
		Manifest: manifestHash(encoded, signature), Root: m.root(),
	}}
	if capsule != nil {
		s.Action.Capsule, s.Action.Generation = capsule.Hash(), capsule.Generation()
	}
	return s, nil
}

// manifest checks the input and hashes the resources.
func (in *SealInput) manifest() (*Manifest, error) {
	m := &Manifest{
		Author: Author{ID: in.Author.ID, Key: in.Author.Key, Kind: in.Author.Kind},
		Chain:  in.Chain, Class: in.Class, Format: manifestFormat, Version: manifestVersion,
		Journal: in.Handle.Journal, Label: in.Handle.Label(in.Class), Record: in.Record,
		Recorded: in.Recorded, Source: in.Source, Resources: []ResourceStatement{},
	}
	if m.Record.IsZero() {
		m.Record = NewRecordID()
	}
	if len(in.Resources) > ResourcesRecordMax {
		return nil, fmt.Errorf("%w: %d resources, a record has at most %d", ErrLimit, len(in.Resources), ResourcesRecordMax)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("wallet: sealing: %w", err)
	}
	if n := archiveBytes(ManifestBytesMax, in.Resources); n > ContentBytesMax {
		return nil, fmt.Errorf("%w: a record of %d bytes before compression, at most %d", ErrLimit, n, ContentBytesMax)
	}
	_, _ = rand.Read(m.Salt[:])
	for i, r := range in.Resources {
		var salt Salt
		_, _ = rand.Read(salt[:])
		m.Resources = append(m.Resources, ResourceStatement{Bytes: uint64(len(r)), Salt: salt, Hash: resourceHash(m.Record, uint32(i), salt, r)})
	}
	return m, nil
}

func (in *SealInput) encrypt(m *Manifest, content []byte) ([]byte, *threshold.Capsule, error) {
	patient, err := in.Recipient.age()
	if err != nil {
		return nil, nil, fmt.Errorf("wallet: the patient's recipient: %w", err)
	}
	to := []age.Recipient{patient}
	var c *custodians
	if in.Custodians != nil {
		label := CapsuleLabel(m.Chain, in.Custodians.Generation(), m.Journal, m.Label, m.Record)
		c = &custodians{rand: rand.Reader, key: in.Custodians, label: label}
		to = append(to, c)
	}
	file, err := ageEncrypt(content, to...)
	if err != nil {
		return nil, nil, err
	}
	if len(file) > protocol.RecordFileBytesMax {
		return nil, nil, fmt.Errorf("%w: a record's file of %d bytes, at most %d", ErrLimit, len(file), protocol.RecordFileBytesMax)
	}
	if c == nil {
		return file, nil, nil
	}
	return file, c.made, nil
}
