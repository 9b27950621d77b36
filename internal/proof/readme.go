package proof

const (
	formatLine    = "Anamnesis journal export, format "
	formatVersion = "1"
)

// readme is the first file of every export of this format, byte for byte.
const readme = formatLine + formatVersion + `

This is one journal as its patient took it out of an Anamnesis network: every entry of the log about it, the proof that none was left out or
changed, and the encrypted records.

To check all of it, with no network:

    anamnesis verify FILE

FILE is the archive that this text came in. The check tells exactly what does not hold, should anything have been changed. Unless told
otherwise (--policy) it takes the network's keys from policy.txt here, and prints their digest: compare it with one from somebody you trust.

To read the records without Anamnesis, with stock tools: put the journal's identity, a line AGE-SECRET-KEY-1… that the wallet shows when asked,
into a file IDENTITY, and

    tar xf FILE
    cd anamnesis-*
    age -d -i IDENTITY records/RECORD.age | zstd -d | tar x

What is in here:

    policy.txt           whose signatures count (C2SP tlog-policy)
    checkpoint.txt       the log's head, signed and cosigned (C2SP tlog-checkpoint)
    seal.cbor            the log's last entry, with the root of the state map
    constitution.cbor    the entries with the rules that reach everybody
    journal.cbor         the journal's entries with their proofs
    envelopes.cbor       what people signed, from which the entries came
    members.cbor         the organisations
    practitioners.cbor   those who signed in the journal, and their names as far as their organisations tell them
    records/             RECORD.age, or RECORD.missing where the file could not be had

Whoever holds this file can read who was in touch with the journal and when. The records stay encrypted.
`
