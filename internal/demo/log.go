package demo

import (
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/ledger/consent"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// logLine is a line of the log as the story shows it.
type logLine struct {
	Time string
	Text string
	Read bool // an access request, permitted or refused
}

// logLines checks a journal's proof and puts its entries into words.
func logLines(p *api.JournalProof, h protocol.Handle) ([]logLine, error) {
	report := proof.Check(p, proof.Options{Policy: []byte(p.Policy), Now: nowMillis(), MaxAge: time.Hour})
	if !report.OK {
		return nil, failed("the journal's proof does not hold: %v", report.Failures[0])
	}
	o := proof.LogOptions{Handles: []protocol.Handle{h}, Templates: map[uint8]string{}}
	for _, c := range fhir.Classes() {
		o.Classes = append(o.Classes, string(c))
	}
	for _, t := range consent.Templates() {
		o.Templates[t.Number] = t.Name
	}
	lines, err := report.Log(o)
	if err != nil {
		return nil, err
	}
	var out []logLine
	for _, l := range lines {
		out = append(out, logLine{Time: time.UnixMilli(int64(l.Time)).Format("15:04:05"), Text: l.Text, Read: l.Type == protocol.TypeRequestAccess})
	}
	return out, nil
}
