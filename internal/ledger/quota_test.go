package ledger

import (
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol/wiretest"
)

func TestQuotaRowsAgreeWithTheGeneralEncoder(t *testing.T) { wiretest.Agree(t, quotaRow{}) }
