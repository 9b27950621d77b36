package demo

import (
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/internal/proof"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// logLine is a line of the log as the story shows it.
type logLine struct {
	Time string
	Text string
	Read bool // an access request, permitted or refused
}

func logLines(p *api.JournalProof, h protocol.Handle) ([]logLine, error) {
	var classes []string
	for _, c := range fhir.Classes() {
		classes = append(classes, string(c))
	}
	lines, err := proof.Log(p, h, classes)
	if err != nil {
		return nil, err
	}
	var out []logLine
	for _, l := range lines {
		out = append(out, logLine{Time: time.UnixMilli(int64(l.Time)).Format("15:04:05"), Text: l.Text(), Read: l.Type == "request-access"})
	}
	return out, nil
}
