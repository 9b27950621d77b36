package notify

import "time"

// Limits, units last.
const (
	// SubscriptionsJournalMax is how many subscriptions a journal has at one gateway; SubscriptionsMax how many all have.
	SubscriptionsJournalMax = 8
	SubscriptionsMax        = 1 << 20
	// TargetBytesMax bounds a webhook's URL, AddressBytesMax a mail address (RFC 5321 §4.5.3.1.3).
	TargetBytesMax  = 2048
	AddressBytesMax = 254
	// NonceBytes is the length of the nonce that makes each subscription one of its own.
	NonceBytes = 16

	// WaitingMax is how many notices wait for one subscription; of more, the oldest go. Whoever missed some finds them in the wallet.
	WaitingMax = 1000
	// BatchNoticesMax is how many go with one delivery.
	BatchNoticesMax = 100

	// CodesAddressDayMax is how many codes one address is sent in a day, whoever asks; CodesJournalDayMax how many one journal asks for.
	CodesAddressDayMax = 3
	CodesJournalDayMax = 8

	// confirmTriesMax is how often a code may be wrong; confirmTime how long it counts.
	confirmTriesMax = 5
	confirmTime     = 24 * time.Hour
	// deletedTime is how long an id that was removed is remembered, so that a replayed request does not bring it back: longer than a
	// signed question counts.
	deletedTime = 10 * time.Minute

	webhooksAtOnce   = 32
	answerBytesMax   = 4 << 10
	headerBytesMax   = 16 << 10
	mailTime         = 30 * time.Second
	mailsAtOnce      = 4
	entriesAtOnce    = 4096 // that one step of following looks at
	followPause      = 100 * time.Millisecond
	deliveriesAtOnce = 256 // that one look at the queue takes up
)

// Pace is how fast deliveries are tried again. The zero value is DefaultPace.
type Pace struct {
	First  time.Duration // after the first failure; doubled after each further one
	Most   time.Duration // at most
	GiveUp time.Duration // after so long without a success, the subscription is broken
	Mail   time.Duration // least time between two mails of notices that are not urgent
	Wait   time.Duration // how long a webhook may take to answer
}

// DefaultPace is what a node uses.
var DefaultPace = Pace{First: 10 * time.Second, Most: 6 * time.Hour, GiveUp: 72 * time.Hour, Mail: 10 * time.Minute, Wait: 10 * time.Second}
