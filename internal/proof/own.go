package proof

import (
	"github.com/anamnesis-health/anamnesis/protocol"
)

// learnKeys reads from the constitution, in its order, who is a member and with which key from when on. It runs entry by entry while the
// constitution is walked, because each signature is judged by what held before it.
func (c *checker) learnKeys(p parsed) {
	e := p.entry
	now := keyChange{after: p.index, cause: e.Cause}
	switch e.Type {
	case protocol.TypeProposeMember:
		var a protocol.ProposeMember
		if protocol.Decode(e.Action, &a) == nil {
			c.proposed[a.Member.ID()] = a.Member.Key
		}
	case protocol.TypeRotateMemberKey:
		var a protocol.RotateMemberKey
		if protocol.Decode(e.Action, &a) == nil {
			now.key = a.Key
			c.change(protocol.MemberID(e.Signer.ID), now)
		}
	case protocol.EventMemberJoined, protocol.EventMemberRemoved:
		var ev protocol.MemberEvent
		if protocol.Decode(e.Action, &ev) != nil {
			return
		}
		key, ok := c.proposed[ev.Member]
		if now.removed = e.Type == protocol.EventMemberRemoved; !now.removed {
			if !ok {
				c.r.fail(CodeMember, p.where, "member %s joined without having been proposed", ev.Member)
			}
			now.key = key
		}
		c.change(ev.Member, now)
	}
}

func (c *checker) change(id protocol.MemberID, k keyChange) { c.keys[id] = append(c.keys[id], k) }

// checkOwn goes through the patient's own journal: what is counted, and which records it has.
func (c *checker) checkOwn(entries []parsed) {
	r := c.r
	r.Counts.Entries = len(c.proof.Journal.Entries)
	if len(entries) > 0 && entries[0].entry.Type != protocol.TypeOpenJournal {
		r.fail(CodeEntry, entries[0].where, "a journal begins with its opening")
	}
	for i, p := range entries {
		r.Counts.ByType[p.entry.Type.String()]++
		switch p.entry.Type {
		case protocol.TypeOpenJournal:
			if i > 0 {
				r.fail(CodeEntry, p.where, "a journal is opened once")
			}
		case protocol.TypeAddRecord:
			c.addRecord(p)
		case protocol.TypeRequestAccess:
			c.access(p)
		}
	}
	r.Counts.Records = len(c.records)
}

func (c *checker) addRecord(p parsed) {
	var a protocol.AddRecord
	if err := protocol.Decode(p.entry.Action, &a); err != nil {
		c.r.fail(CodeEntry, p.where, "%v", err)
		return
	}
	if c.known[a.Record] {
		c.r.fail(CodeEntry, p.where, "record %s was added before", a.Record)
		return
	}
	c.known[a.Record] = true
	c.records = append(c.records, added{where: p.where, index: p.index, recorded: p.entry.Time, author: p.entry.Signer, action: a})
}

func (c *checker) access(p parsed) {
	var out protocol.AccessOutcome
	if protocol.Decode(p.entry.Outcome, &out) != nil {
		return // reported with the entry
	}
	if !out.Permitted {
		c.r.Counts.Reads.Refused++
		return
	}
	c.r.Counts.Reads.Permitted++
	for _, id := range out.Records {
		if !c.known[id] {
			c.r.fail(CodeEntry, p.where, "it opens record %s, which the journal did not have", id)
			return
		}
	}
}
