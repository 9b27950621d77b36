package keygen

import (
	"errors"
	"fmt"

	"github.com/anamnesis-health/anamnesis/internal/ledger/state"
	"github.com/anamnesis-health/anamnesis/internal/threshold"
)

// Check holds the tables against each other: the active generation has its keys, those are what the qualified deals make, at least T
// dealers made them, and a ceremony is pending exactly if it is not done.
func Check(r state.Reader, chain string) error {
	now, _, err := currents.Read(r, currents.Key())
	if err != nil {
		return err
	}
	cer, ok, err := CeremonyRow(r)
	if err != nil || !ok || now.Pending == (cer.Phase == Done) {
		return fmt.Errorf("ceremony %+v, pending: %v: %w", cer, now.Pending, cause(err))
	}
	if now.Generation == 0 {
		return nil
	}
	have, ok, err := Keys(r, now.Generation)
	if err != nil || !ok {
		return fmt.Errorf("generation %d is active and has no key: %w", now.Generation, cause(err))
	}
	params, deals, err := QualifiedDeals(r, chain, now.Generation)
	if err != nil || len(deals) < have.T {
		return fmt.Errorf("%d deals made generation %d, %d are needed: %w", len(deals), now.Generation, have.T, cause(err))
	}
	made, err := threshold.Finish(params, deals)
	if err != nil || string(made.Bytes()) != string(have.Bytes()) {
		return fmt.Errorf("the deals of generation %d make another key: %w", now.Generation, cause(err))
	}
	return nil
}

var errContradiction = errors.New("the rows contradict each other")

// cause is the store's error, or else that the rows do not fit.
func cause(err error) error {
	if err == nil {
		return errContradiction
	}
	return err
}
