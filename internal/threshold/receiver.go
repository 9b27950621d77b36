package threshold

import (
	"bytes"
	"crypto/hpke"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// Share ciphertexts are HPKE (RFC 9180) in base mode: KEM X-Wing (0x647a), HKDF-SHA256, AES-256-GCM.
const (
	// ReceiverKeyBytes is the size of a receiver's public key.
	ReceiverKeyBytes = 1216

	// ShareCiphertextBytes is the size of a share ciphertext: encapsulated key, scalar, tag.
	ShareCiphertextBytes = 1120 + scalarBytes + 16

	receiverSeedBytes = 32
	portionVersion    = 1

	// PortionBytes is the size of an encoded portion.
	PortionBytes = 1 + 4 + 4 + 2 + 2 + scalarBytes
)

// ReceiverKey is a custodian's key for receiving shares in one ceremony. Destroy it when the epoch is active: then what
// was sent under it is lost to a later thief.
type ReceiverKey struct {
	key    hidden[hpke.PrivateKey]
	public []byte
}

// NewReceiverKey draws a fresh key.
func NewReceiverKey(rand io.Reader) (*ReceiverKey, error) {
	if rand == nil {
		return nil, fmt.Errorf("%w: none given", ErrRandomness)
	}
	var seed [receiverSeedBytes]byte
	if _, err := io.ReadFull(rand, seed[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRandomness, err)
	}
	defer clear(seed[:])
	return ParseReceiverKey(seed[:])
}

// ParseReceiverKey decodes what ReceiverKey.Bytes wrote.
func ParseReceiverKey(b []byte) (*ReceiverKey, error) {
	if len(b) != receiverSeedBytes {
		return nil, fmt.Errorf("%w: receiver key of %d bytes", ErrEncoding, len(b))
	}
	key, err := hpke.MLKEM768X25519().NewPrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("%w: receiver key: %w", ErrEncoding, err)
	}
	return &ReceiverKey{key: hide(&key), public: key.PublicKey().Bytes()}, nil
}

// Public is the encoded public key, ReceiverKeyBytes long: what goes into Params.ReceiverKeys.
func (k *ReceiverKey) Public() []byte { return bytes.Clone(k.public) }

// Bytes encodes the private key (the X-Wing seed). Encrypt it.
func (k *ReceiverKey) Bytes() ([]byte, error) {
	key := k.key.get()
	if key == nil {
		return nil, fmt.Errorf("%w: no receiver key", ErrMismatch)
	}
	return (*key).Bytes()
}

// Format keeps the secret out of every fmt verb.
func (k ReceiverKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, "receiver key") }

// CheckReceiverKey says whether b is a public key that dealers can seal to. The ledger asks when a key is announced.
func CheckReceiverKey(b []byte) error {
	if len(b) != ReceiverKeyBytes {
		return fmt.Errorf("%w: receiver key of %d bytes", ErrEncoding, len(b))
	}
	if _, err := hpke.MLKEM768X25519().NewPublicKey(b); err != nil {
		return fmt.Errorf("%w: receiver key: %w", ErrEncoding, err)
	}
	return nil
}

// Reason says what a receiver found wrong with the share sent to it.
type Reason uint8

const (
	ReasonMissing    Reason = 1 + iota // nothing came in time; for the caller to find
	ReasonHash                         // what came is not what the deal commits to
	ReasonUndecoded                    // it does not decrypt
	ReasonNotScalar                    // it decrypts to something that is not a canonical scalar
	ReasonWrongShare                   // it is not the value of the committed polynomial
)

func (r Reason) String() string {
	switch r {
	case ReasonMissing:
		return "no ciphertext"
	case ReasonHash:
		return "ciphertext hash differs"
	case ReasonUndecoded:
		return "ciphertext does not decrypt"
	case ReasonNotScalar:
		return "not a scalar"
	case ReasonWrongShare:
		return "share does not match the commitments"
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Complaint is the error of a receiver that cannot use what a dealer sent. The dealer answers on the ledger with the share
// itself (Dealing.Reveal, VerifyReveal), or is out. A complaint proves nothing: whoever makes one learns only a share that
// is its own.
type Complaint struct {
	Dealer   int
	Receiver int
	Reason   Reason
}

func (c *Complaint) Error() string {
	return fmt.Sprintf("threshold: receiver %d against dealer %d: %s", c.Receiver, c.Dealer, c.Reason)
}

// Portion is what one dealer contributes to one receiver's share. It is a secret, unless it was revealed.
type Portion struct {
	Generation uint32
	Epoch      uint32
	Dealer     int
	Receiver   int
	s          hidden[scalar.Scalar]
}

// Bytes encodes the portion, secret included: version, generation u32, epoch u32, dealer u16, receiver u16, scalar. Encrypt it.
// The zero portion has no encoding.
func (p *Portion) Bytes() []byte {
	if p.s.get() == nil {
		return nil
	}
	b := append(make([]byte, 0, PortionBytes), portionVersion)
	b = appendPlace(b, p.Generation, p.Epoch, p.Dealer)
	return appendScalar(appendU16(b, p.Receiver), p.s.get())
}

// ParsePortion decodes what Portion.Bytes wrote.
func ParsePortion(b []byte) (*Portion, error) {
	if len(b) != PortionBytes || b[0] != portionVersion {
		return nil, fmt.Errorf("%w: portion", ErrEncoding)
	}
	p := new(Portion)
	p.Generation, p.Epoch, p.Dealer = parsePlace(b[1:])
	p.Receiver = parseU16(b[11:])
	if err := checkIndex(p.Dealer); err != nil {
		return nil, err
	}
	if err := checkIndex(p.Receiver); err != nil {
		return nil, err
	}
	s, err := parseScalar(b[PortionBytes-scalarBytes:])
	if err != nil {
		return nil, err
	}
	p.s = hide(s)
	return p, nil
}

// Wipe overwrites the secret, best effort (see the package comment).
func (p *Portion) Wipe() {
	if s := p.s.get(); s != nil {
		s.Zero()
	}
}

// Format keeps the secret out of every fmt verb.
func (p Portion) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "portion of receiver %d from dealer %d", p.Receiver, p.Dealer)
}

// OpenShare opens the ciphertext that a dealer sent to the receiver with that key. The error is a *Complaint when the dealer
// is to blame; anything else is a mistake on this side.
func OpenShare(params *Params, deal *Deal, receiver int, key *ReceiverKey, ciphertext []byte) (*Portion, error) {
	if err := VerifyDeal(params, deal); err != nil {
		return nil, err
	}
	if receiver < 1 || receiver > params.N || key == nil || key.key.get() == nil ||
		!bytes.Equal(key.public, params.ReceiverKeys[receiver-1]) {
		return nil, fmt.Errorf("%w: key is not receiver %d's", ErrMismatch, receiver)
	}
	complain := func(r Reason) (*Portion, error) {
		return nil, &Complaint{Dealer: deal.Dealer, Receiver: receiver, Reason: r}
	}
	if len(ciphertext) != ShareCiphertextBytes || hashCiphertext(ciphertext) != deal.CiphertextHash(receiver) {
		return complain(ReasonHash)
	}
	info := shareInfo(params.digest(), deal.Dealer, receiver)
	plain, err := hpke.Open(*key.key.get(), hpke.HKDFSHA256(), hpke.AES256GCM(), info, ciphertext)
	if err != nil {
		return complain(ReasonUndecoded)
	}
	defer clear(plain)
	s, err := parseScalar(plain)
	if err != nil {
		return complain(ReasonNotScalar)
	}
	if !deal.holds(receiver, s) {
		return complain(ReasonWrongShare)
	}
	return newPortion(params, deal.Dealer, receiver, s), nil
}

// VerifyReveal checks the share that a dealer publishes in answer to a complaint (32 bytes, a canonical scalar) against
// its deal. The error wraps ErrDeal when it does not settle the complaint.
func VerifyReveal(params *Params, deal *Deal, receiver int, revealed []byte) (*Portion, error) {
	if err := VerifyDeal(params, deal); err != nil {
		return nil, err
	}
	if receiver < 1 || receiver > params.N {
		return nil, fmt.Errorf("%w: receiver %d of %d", ErrLimit, receiver, params.N)
	}
	s, err := parseScalar(revealed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDeal, err)
	}
	if !deal.holds(receiver, s) {
		return nil, fmt.Errorf("%w: revealed share does not match the commitments", ErrDeal)
	}
	return newPortion(params, deal.Dealer, receiver, s), nil
}

func newPortion(params *Params, dealer, receiver int, s *scalar.Scalar) *Portion {
	return &Portion{Generation: params.Generation, Epoch: params.Epoch, Dealer: dealer, Receiver: receiver, s: hide(s)}
}

// shareInfo is the HPKE info of a share ciphertext: the hash of the ceremony (chain, generation, epoch, everybody's keys),
// dealer and receiver.
func shareInfo(digest [sha256.Size]byte, dealer, receiver int) []byte {
	t := newTranscript(sha256.New(), domainShareInfo)
	t.bytes(digest[:])
	t.u32(uint32(dealer))
	t.u32(uint32(receiver))
	info := t.sum256()
	return info[:]
}

func hashCiphertext(ciphertext []byte) [sha256.Size]byte {
	t := newTranscript(sha256.New(), domainSealed)
	t.bytes(ciphertext)
	return t.sum256()
}
