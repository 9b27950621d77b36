package consent

import (
	"testing"

	"github.com/anamnesis-health/anamnesis/protocol/wiretest"
)

func TestRowsAgreeWithTheGeneralEncoder(t *testing.T) { wiretest.Agree(t, ContractRow{}) }
