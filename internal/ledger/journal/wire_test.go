package journal

import (
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol/wiretest"
)

func TestRowsAgreeWithTheGeneralEncoder(t *testing.T) {
	wiretest.Agree(t, Row{})
	wiretest.Agree(t, RecordRow{})
	wiretest.Agree(t, listed{})
}
