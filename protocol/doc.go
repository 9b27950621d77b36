// Package protocol is what everybody who talks to an Anamnesis network must agree on: the names of things (ids and handles), the actions that
// people sign and their canonical bytes, the entries that the ledger makes of them, and the limits on all of it.
//
// It is the bottom of the import graph: no clock, no network, no storage, no randomness of its own. It builds for js/wasm, where wallets run it.
//
// # How a signed request travels
//
//	Action ──► Body{chain, nonce, not-after, signer, journal, actions} ──► deterministic CBOR (RFC 8949 §4.2)
//	       ──► COSE_Sign1 (RFC 9052 §4.2), Ed25519 ──► Envelope ──► Parcel of 1..64 envelopes = one transaction of the engine
//	       ──► the ledger executes it: Result for the sender, Entry for each action in the log
//
// Decoding is strict: what is decoded encodes back to the very same bytes, or it is refused. The byte formats are specified in
// docs/spec/protocol.md, with vectors in docs/spec/vectors/protocol.json.
//
// Compatibility: Version names the rules. A consensus-visible change gets a new number, which a network activates at a height.
package protocol

// Version is the protocol version that this build speaks; every Body carries it.
const Version uint16 = 1
