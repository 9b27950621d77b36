package wallet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"filippo.io/age"

	"github.com/anamnesis-health/anamnesis/protocol"
)

// What can be wrong with a record. Open's errors wrap one of these (or ErrLimit, ErrTooNew), and say more.
var (
	ErrFile      = errors.New("the file is not the one that the ledger commits to")
	ErrHeader    = errors.New("the file's header is not a record's")
	ErrCapsule   = errors.New("the file's capsule is not the one that the ledger commits to")
	ErrRecipient = errors.New("the file is not sealed to this key")
	ErrDecrypt   = errors.New("the file does not decrypt")
	ErrContent   = errors.New("the file's content is not a record")
	ErrManifest  = errors.New("the record's manifest is not valid")
	ErrCommitted = errors.New("the record is not what the ledger's entry commits to")
	ErrSignature = errors.New("the author's signature on the record does not verify")
)

// ResourceError says which resource of a record, counted from 0, is not what its author signed.
type ResourceError struct{ Index int }

// Error implements error.
func (e *ResourceError) Error() string {
	return fmt.Sprintf("resource %d of the record is not what its author signed", e.Index+1)
}

// Record is an opened and verified record.
type Record struct {
	Manifest  *Manifest
	Resources [][]byte // byte for byte as they were sealed
}

// Open decrypts a record's file and checks all of it against the ledger's entry: the file's hash and size, its capsule, the manifest's
// form, signature and hash, that manifest and entry name the same things, and each resource. who is the patient's *Identity, a FileKey or
// a Combiner. The identity is asked only after file and capsule have matched the entry. The entry must come from a verified ledger.
func Open(file []byte, who age.Identity, e Entry) (*Record, error) {
	r, err := open(file, who, e)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", e.Action.Record, err)
	}
	return r, nil
}

func open(file []byte, who age.Identity, e Entry) (*Record, error) {
	if err := checkFile(file, e.Action); err != nil {
		return nil, err
	}
	tar, err := decryptContent(file, who)
	if err != nil {
		return nil, err
	}
	return readRecord(tar, e)
}

// readRecord checks the archive, front to back, against the entry.
func readRecord(tar []byte, e Entry) (*Record, error) {
	u := &unarchiver{rest: tar}
	m, err := readManifest(u, e)
	if err != nil {
		return nil, err
	}
	r := &Record{Manifest: m, Resources: make([][]byte, len(m.Resources))}
	for i, s := range m.Resources {
		data, err := u.next(resourceName(i))
		if err != nil {
			return nil, err
		}
		if uint64(len(data)) != s.Bytes || resourceHash(m.Record, uint32(i), s.Salt, data) != s.Hash {
			return nil, &ResourceError{i}
		}
		r.Resources[i] = data
	}
	if err := u.end(); err != nil {
		return nil, err
	}
	return r, nil
}

// checkFile compares what needs no key.
func checkFile(file []byte, a protocol.AddRecord) error {
	if len(file) > protocol.RecordFileBytesMax {
		return fmt.Errorf("%w: a file of %d bytes, at most %d", ErrLimit, len(file), protocol.RecordFileBytesMax)
	}
	if uint64(len(file)) != a.Size {
		return fmt.Errorf("%w: %d bytes, the entry says %d", ErrFile, len(file), a.Size)
	}
	if protocol.Hash(sha256.Sum256(file)) != a.Ciphertext {
		return fmt.Errorf("%w: its hash differs", ErrFile)
	}
	capsule, err := CapsuleOf(file)
	if err != nil {
		return err
	}
	var hash protocol.Hash
	var generation uint32
	if capsule != nil {
		hash, generation = capsule.Hash(), capsule.Generation()
	}
	if hash != a.Capsule || generation != a.Generation {
		return ErrCapsule
	}
	return nil
}

func decryptContent(file []byte, who age.Identity) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(file), who)
	if errors.Is(err, age.ErrIncorrectIdentity) {
		return nil, fmt.Errorf("%w: %w", ErrRecipient, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDecrypt, err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDecrypt, err)
	}
	return unpack(content)
}

// readManifest reads manifest and signature, and checks them against the entry.
func readManifest(u *unarchiver, e Entry) (*Manifest, error) {
	encoded, err := u.first(nameManifest)
	if err != nil {
		return nil, err
	}
	if len(encoded) > ManifestBytesMax {
		return nil, fmt.Errorf("%w: a manifest of %d bytes, at most %d", ErrLimit, len(encoded), ManifestBytesMax)
	}
	text, err := u.next(nameSignature)
	if err != nil {
		return nil, err
	}
	signature, err := hex.DecodeString(string(text))
	if err != nil || len(text) != signatureHexBytes || !bytes.Equal(text, hex.AppendEncode(nil, signature)) {
		return nil, fmt.Errorf("%w: %s is not a signature in hexadecimal", ErrContent, nameSignature)
	}
	m, err := parseManifest(encoded)
	if err != nil {
		return nil, err
	}
	if u.mtime != m.mtime() {
		return nil, fmt.Errorf("%w: its times are not the manifest's", ErrContent)
	}
	if err := m.matches(e); err != nil {
		return nil, err
	}
	if !protocol.VerifySignature(m.Author.Key, manifestMessage(encoded), signature) {
		return nil, ErrSignature
	}
	if manifestHash(encoded, signature) != e.Action.Manifest {
		return nil, fmt.Errorf("%w: the hash of its manifest differs", ErrCommitted)
	}
	if m.root() != e.Action.Root {
		return nil, fmt.Errorf("%w: the root of its resources differs", ErrCommitted)
	}
	return m, nil
}

// matches compares what manifest and entry both say.
func (m *Manifest) matches(e Entry) error {
	for _, c := range []struct {
		same bool
		what string
	}{
		{m.Chain == e.Chain, "network"},
		{m.Journal == e.Journal, "journal"},
		{m.Record == e.Action.Record, "record id"},
		{m.Label == e.Action.Label, "label"},
		{m.Author.Kind == e.Author.Kind && m.Author.ID == e.Author.ID && m.Author.Key == e.Author.Key, "author"},
	} {
		if !c.same {
			return fmt.Errorf("%w: its manifest names another %s", ErrCommitted, c.what)
		}
	}
	return nil
}

func (m *Manifest) mtime() uint64 { return m.Recorded / 1000 }

// CheckLabel checks that the author put the record under the label of its class: a wrong label would have shown it to those whom the
// patient let see another class. h is the handle of the label's epoch. The error wraps ErrCommitted.
func (m *Manifest) CheckLabel(h protocol.Handle) error {
	if h.Journal != m.Journal || h.Label(m.Class) != m.Label {
		return fmt.Errorf("%w: its label is not that of class %s", ErrCommitted, m.Class)
	}
	return nil
}

// Opening is one file for OpenAll, Opened its result: a record or an error.
type (
	Opening struct {
		File  []byte
		Who   age.Identity
		Entry Entry
	}
	Opened struct {
		Record *Record
		Err    error
	}
)

// OpenAll opens many files on as many goroutines as there are processors; results come in the order of the input, and one bad file stops
// nothing. After ctx ends, files not yet begun get its error. Identities must be safe for concurrent use; those of this package are, a
// Combiner as far as its function is.
func OpenAll(ctx context.Context, files []Opening) []Opened {
	results := make([]Opened, len(files))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(files)) {
		workers.Go(func() {
			for i := range next {
				if err := ctx.Err(); err != nil {
					results[i].Err = err
					continue
				}
				results[i].Record, results[i].Err = Open(files[i].File, files[i].Who, files[i].Entry)
			}
		})
	}
	for i := range files {
		next <- i
	}
	close(next)
	workers.Wait()
	return results
}
