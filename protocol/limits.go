package protocol

// Limits on everything that crosses an edge; the unit is the last word. A change of any of them is a new protocol version.
const (
	EnvelopeBytesMax        = 16 << 10 // one signed envelope
	ParcelEnvelopesMax      = 64       // envelopes a parcel (one transaction of the engine)
	ParcelBytesMax          = 512 << 10
	EnvelopeActionsMax      = 32          // actions an envelope, all or nothing
	NotAfterMillisMax       = 10 * 60_000 // how far ahead of block time a not-after may lie
	ChainBytesMax           = 50
	NameBytesMax            = 64 // a member's public name
	ClassBytesMax           = 48 // a class's name
	EmergencyClassesMax     = 32
	ContractBytesMax        = 4 << 10 // canonical Cedar of one contract
	ContractsJournalMax     = 64      // active contracts a journal
	ContractWindowMillisMax = 10 * 366 * 24 * 3600_000
	ContractUsesMax         = 1_000_000
	LabelsRequestMax        = 64          // labels an access request
	RecordsRequestMax       = 256         // records named in an access request
	RecordsAccessMax        = 1024        // records that one access opens
	AccessDeadlineMillis    = 15 * 60_000 // how long custodians serve one access
	RecordFileBytesMax      = 64 << 20
	MembersMax              = 64
	StatementBytesMax       = 256 << 10 // the file of a patient's statement about a record
	StatementsRecordMax     = 8         // statements about one record
	OwnRecordBytesMax       = 6 << 20   // the file of a record that the patient, or a delegate, wrote
	OwnRecordsJournalMax    = 256       // such records of a journal that are not erased, statements among them
	OwnRecordsDelegatesMax  = 128       // from so many on, delegates add none
	HoldsMemberMax          = 8         // holds of one member in a journal
	HoldMillisMax           = 30 * 366 * 24 * 3600_000
	ErasuresPendingMax      = 8                  // erasures of a journal that are under way
	ErasedBlockMax          = 1024               // records that a block takes off the shelves; the rest waits for the next
	AmendmentMillis         = 60 * 24 * 3600_000 // how long an author has to answer (45 CFR 164.526 (b)(2))
	EndsBlockMax            = 256                // ends of contracts written per block; the rest wait for the next
	TickMillisMin           = 1_000              // a tick moves time only when block time moved at least this far
	ReceiverKeyBytes        = 1216               // X-Wing encapsulation key
	CustodianCiphertextsMax = MembersMax
	ClaimMillis             = 30 * 24 * 3600_000 // how long a one-time code can be claimed with
	DevicesJournalMax       = 16                 // active devices a journal, beside its controller
	GuardianGroupsMax       = 8
	GuardiansMax            = 32 // guardians of a journal, over all groups
	RecoveryDelayMillisMax  = 90 * 24 * 3600_000
	RecoveryOpenMillis      = 30 * 24 * 3600_000 // how long a recovery waits for approvals
)
