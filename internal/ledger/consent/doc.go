// Package consent is consent as code: the part of the ledger that says whether a patient's contracts permit an act.
//
// A contract is a handful of Cedar policies (https://docs.cedarpolicy.com) over one schema (Schema), with a window of time and a
// limit of uses around them. The package has four faces:
//
//   - [Canonicalise] turns Cedar as people write it into the one form that is signed and stored, and [Compile] takes that form and
//     no other. Both refuse everything outside the subset below, so no contract can carry text, or fail while it runs.
//   - [DecideAll] and [Recheck] combine the contracts of a journal: default deny; a forbid in any contract wins; any error denies.
//   - [Render] writes contracts from the templates people know by name ([Templates]).
//   - [Explain] says in English what a contract does, for the screen on which a patient signs it.
//
// Everything here is a pure function of its arguments: no clock, no randomness, no goroutine, no float, no ranging over maps. A
// change of what is accepted or decided is a new protocol version; that includes a new version of cedar-go.
//
// # The subset
//
// No strings, patterns (like), records, tags, has, extension functions, multiplication, negative numbers, templates or annotations.
// Literals are booleans, whole numbers below 2^53, and entities whose id is checked: 32 lowercase hexadecimal digits for members,
// practitioners, journals, classes (their label) and records, an enumerated word for roles, purposes, credentials and actions.
// Sums of at most NodesMax such numbers cannot overflow and every attribute is always present, so evaluation cannot fail;
// should it fail all the same, the answer is no.
//
// # What the ledger's rules decide before any policy
//
// A practitioner or member whose credential is not active is refused. A contract outside its window, ended or revoked neither
// permits nor forbids. A contract whose uses are spent no longer permits, but goes on forbidding while its window lasts, so that
// using a contract never opens anything.
//
// The byte format is in docs/spec/consent.md.
package consent
