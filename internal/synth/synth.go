// Package synth makes up patients: longitudinal FHIR R4 histories written by many organisations, for demonstrations,
// tests and benchmarks. Nobody in them exists.
//
// A history is a function of (seed, patient number): the same pair gives the same bytes on any machine, so a demo can
// be repeated and a bug report needs two numbers. All arithmetic is on integers, the generator is PCG (math/rand/v2)
// with our own reduction, and time ends at Epoch instead of now.
//
// Every patient has met at least six organisations of a fixed world (GP practices, hospitals, laboratories,
// pharmacies, insurers, an imaging centre, a dentist and a sensitive clinic), and has allergies, medicines, laboratory
// trends, vital signs, immunisations, imaging, procedures, documents, claims, and records of at least one sensitive
// class. Codes are real (SNOMED CT, LOINC, RxNorm, CVX, DICOM); medical plausibility goes as far as order, trends and
// who writes what, not to epidemiology. Bundles are transactions whose references all resolve within them.
package synth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Epoch is the end of every history: the present of the made-up world.
var Epoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// PatientsMax bounds one Write.
const PatientsMax = 1_000_000

// History is one generated patient.
type History struct {
	ID        string // UUID, the Patient's id
	Name      string // "Given Family"
	File      string // "Given_Family_UUID.json"
	Resources int    // entries of the Bundle
	Bundle    []byte // a FHIR transaction Bundle, JSON, ending in a newline
}

// Generate makes up one patient.
func Generate(seed uint64, patient int) History {
	c := newCourse(seed, patient)
	c.live()
	return History{
		ID:        c.person.id,
		Name:      c.person.given + " " + c.person.family,
		File:      fileName(c.person.given, c.person.family, c.person.id),
		Resources: len(c.entries),
		Bundle:    c.bundle(),
	}
}

// Write generates patients 0 … patients−1 into dir, one file each, and gives the files' paths. A file appears whole
// or not at all. progress, which may be nil, is called after each file with how many are done.
func Write(dir string, patients int, seed uint64, progress func(done int)) ([]string, error) {
	if patients < 0 || patients > PatientsMax {
		return nil, fmt.Errorf("synth: %d patients: %w", patients, ErrPatients)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("synth: %w", err)
	}
	var files []string
	for i := range patients {
		h := Generate(seed, i)
		name := filepath.Join(dir, h.File)
		if err := writeWhole(name, h.Bundle); err != nil {
			return files, fmt.Errorf("synth: patient %d: %w", i, err)
		}
		files = append(files, name)
		if progress != nil {
			progress(i + 1)
		}
	}
	return files, nil
}

// ErrPatients is returned for a number of patients that Write does not take.
var ErrPatients = errors.New("number of patients must be between 0 and 1,000,000")

// writeWhole puts a file in place by renaming.
func writeWhole(name string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".synth-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // err is the one to tell
		}
	}()
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// fileName keeps letters and digits of the name, other characters of the alphabet becoming '_'.
func fileName(given, family, id string) string {
	clean := func(s string) string {
		out := []rune(s)
		for i, r := range out {
			letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= 0xc0 && r <= 0x24f
			if !letter {
				out[i] = '_'
			}
		}
		return string(out)
	}
	return clean(given) + "_" + clean(family) + "_" + id + ".json"
}
