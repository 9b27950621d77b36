// Package wallet is what a person or an organisation holds on their own device, and everything done there with it: keys and recovery
// words, the encrypted file that keeps them, sealing a record, opening and verifying one, proving a single resource of it, and the
// channel through which custodians' shares reach a reader.
//
//	Wallet ──► Keys(journal) ──► SigningKey (Ed25519), Identity (age X25519), protocol.Handle (label key)
//	resources ──► Seal ──► Sealed{File, Entry}     File: an age file for the vault. Entry: the commitments for the ledger
//	File + Entry + Identity (the patient's) ──► Open ──► Record{Manifest, Resources}
//	File ──► CapsuleOf ──► custodians' shares, each through OneTimeKey.OpenShare ──► FileKey ──► Open
//	Record ──► Prove(i) ──► VerifyResource, against the ledger's entry alone
//
// A record's file opens with stock tools and the patient's identity: age -d -i identity.txt FILE | zstd -d | tar x
//
// Secrets print as "[secret]" whatever prints them (see Secret). Nothing here reads a clock or talks to a network; only disk.go touches
// files. The package builds for js/wasm. Byte formats: docs/spec/wallet.md and docs/spec/record.md.
//
// # Limits
//
// A file is held in memory whole (RecordFileBytesMax), and so is its content (ContentBytesMax). age draws its file keys, nonces and
// ephemeral keys from crypto/rand and cannot be told otherwise, so all randomness here comes from crypto/rand. Wiping of keys is best
// effort, as everywhere in Go.
package wallet

// Limits; the unit is the last word.
const (
	WalletFileBytesMax  = 4 << 20   // the encrypted file of a wallet or actor
	JournalsMax         = 256       // journals a wallet
	ContractsMax        = 4096      // contracts that a wallet remembers
	DevicesMax          = 4096      // devices whose names a wallet remembers
	PinsMax             = 64        // networks whose checkpoints a wallet remembers
	PolicyBytesMax      = 64 << 10  // text of a trust policy
	TextBytesMax        = 256       // a nickname, an organisation's name or identifier, an address
	ScryptLogNDefault   = 18        // scrypt work factor of files written: 256 MiB, about a second
	ScryptLogNMax       = 20        // the largest accepted on reading: 1 GiB
	ResourcesRecordMax  = 10_000    // resources a record
	ContentBytesMax     = 128 << 20 // a record's content, uncompressed
	ManifestBytesMax    = 4 << 20   // the manifest of a record
	HeaderBytesMax      = 8 << 10   // the age header of a record's file
	PaddedBytesMin      = 4 << 10   // what a record's content is padded to at least, compressed
	ShareAnswerBytesMax = 512 << 10 // one custodian's answer for an access, before sealing
)
