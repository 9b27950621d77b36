package gateway

import "time"

// Limits of the gateway, units last.
const (
	// SubmissionEnvelopesMax is how many envelopes one POST of JSON may carry.
	SubmissionEnvelopesMax = 256
	// SubmissionBytesMax bounds its body.
	SubmissionBytesMax = 2 << 20
	// SharesBytesMax bounds a ShareRequest.
	SharesBytesMax = 4 << 20
	// SmallBytesMax bounds every other JSON body.
	SmallBytesMax = 8 << 10

	// EntriesPageDefault and EntriesPageMax are the entries on one page of a journal, PageBytesMax their bytes together.
	EntriesPageDefault = 200
	EntriesPageMax     = 1000
	PageBytesMax       = 4 << 20

	// CheckpointMillisMin is the least maximum age that may be asked of a checkpoint: cosignatures carry whole seconds.
	CheckpointMillisMin     = 1_000
	CheckpointMillisDefault = 60_000
	// checkpointAnyMillis asks for a checkpoint of any age: right for a receipt, which says that something happened.
	checkpointAnyMillis = 100 * 366 * 24 * 3600_000

	// AccessesMax is how many open accesses of one reader are listed; accessesScanMax is how many of all readers are looked at.
	AccessesMax     = 1000
	accessesScanMax = 1 << 18

	// SessionsMax is how many sessions without a review are listed.
	SessionsMax = 200

	// Names that other members are asked for: at once, in all, and for how long, for one request.
	namesAtOnce = 8
	namesMax    = 512
	namesWait   = 3 * time.Second

	// StreamsJournalMax is how many streams of notices one journal has at once; streamBeat is how often a silent one shows that it is alive,
	// streamWrite how long a listener may take to take what is sent, streamPause the least time between two looks at the ledger.
	StreamsJournalMax = 16
	streamBeat        = 15 * time.Second
	streamWrite       = 20 * time.Second
	streamPause       = 50 * time.Millisecond
	streamPage        = 200

	// What patients and delegates may upload in an hour: of one journal, and of all together.
	UploadsJournalHourBytesMax = 512 << 20
	UploadsHourBytesMax        = 8 << 30
	UploadsSmallHourBytesMax   = 1 << 30 // of files up to protocol.StatementBytesMax, beside it
	uploadersHourMax           = 1 << 16

	// ReadersMax is how many practitioners and organisations one answer about readers looks at; DisclosuresScanMax how many entries one page of
	// disclosures does.
	ReadersMax         = 4096
	DisclosuresScanMax = 10_000

	// Bounds of a practitioner's name, in bytes.
	saltBytesMin       = 16
	saltBytesMax       = 64
	personNameBytesMax = 200
)

// Requests that are served at once, by what they cost: beyond these a gateway asks to come back.
const (
	lightAtOnce   = 2048
	submitAtOnce  = 16384
	sharesAtOnce  = 256
	filesAtOnce   = 256
	quorumAtOnce  = 64
	heavyAtOnce   = 64
	streamsAtOnce = 4096
	patience      = time.Second // how long a request waits for its place before it is told to come back

	// Submissions over bodyBytesLarge are read so many at once; the others wait their turn.
	bodiesAtOnce   = 256
	bodyBytesLarge = 64 << 10
	// extraAtOnce is how many envelopes are under way beyond the first of each submission.
	extraAtOnce = 16384
)

// How long a request may take, its body and answer included.
const (
	lightTime  = 20 * time.Second
	submitTime = 30 * time.Second
	heavyTime  = 2 * time.Minute
	fileTime   = 10 * time.Minute
	streamTime = time.Hour
	writeGrace = 5 * time.Second // on top, to say that the time is over
)
