package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/anamnesis-health/anamnesis/internal/client"
	"github.com/anamnesis-health/anamnesis/internal/fhir"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// writer is who writes into a journal: an organisation or one of its practitioners; or the patient, or a delegate who acts.
type writer struct {
	*client.Client
	by      client.Identity
	handle  protocol.Handle
	patient *patient // or staff, a delegate among them
	staff   *staff
}

// own tells whether what is written is the patient's own word.
func (w *writer) own() bool { return w.by.Signer().Kind.ForPatient() }

// writer opens the wallet, or with --as the key of whoever writes into the journal of a handle.
func (c *cli) writer(ctx context.Context, handle string) (*writer, error) {
	if c.as == "" && handle == "" {
		p, err := c.patient(ctx)
		if err != nil {
			return nil, err
		}
		return &writer{p.Client, client.Patient(p.keys), p.keys.Handle(), p, nil}, nil
	}
	if handle == "" {
		return nil, usage("say whose journal: --handle, which the patient gives you")
	}
	h, err := protocol.ParseHandle(handle)
	if err != nil {
		return nil, err
	}
	s, err := c.staff(ctx)
	if err != nil {
		return nil, err
	}
	if s.actor.Kind == protocol.ActorDelegate && protocol.JournalID(s.actor.ID) != h.Journal {
		return nil, usage("the handle is of another journal than %s", c.as)
	}
	return &writer{s.Client, s.identity(), h, nil, s}, nil
}

// source is the source of what names no other.
func (w *writer) source(ctx context.Context) (fhir.Source, error) {
	if w.own() {
		return client.OwnSource, nil
	}
	member, err := w.staff.memberID(ctx)
	return fhir.Source{ID: member.String(), Name: namesOf(w.Client, nil).member(member)}, err
}

func (c *cli) recordNote() *cobra.Command {
	s, handle, class, title, file, instead := said{}, "", "", "", "", ""
	cmd := c.command(&cobra.Command{
		Use:   "note --class CLASS (--text WORDS | --text-file FILE | --file FILE)",
		Short: "Write into your own record: a note, a letter that you scanned, a photograph",
		Long: `Adds something of your own to your journal. It is encrypted like any record, and whoever you let read the class reads it; everywhere
it is shown as yours, and no organisation can change it. A file is a PDF, JPEG, PNG or plain text of at most 4 MiB. To correct
a note, write a new one --instead-of it: both stay until you have them erased. With --as FILE and --handle a delegate of level
act writes for the patient.`,
		Example: `
anamnesis record note --class allergies --text "Penicillin: a rash, as a child in 1987."
anamnesis record note --class documents --title "Discharge letter, Lisbon 2011" --file scan.pdf`,
	}, func(ctx context.Context, _ []string) error {
		found, err := classes([]string{class})
		if err != nil {
			return err
		}
		n, err := c.note(s, file)
		if err != nil {
			return err
		}
		w, err := c.writer(ctx, handle)
		if err != nil {
			return err
		}
		if !w.own() {
			f := usage("a note is the patient's, or their delegate's")
			f.Detail = "Organisations write FHIR: `anamnesis record add --help`."
			return f
		}
		n.Title, n.By = title, "Patient"
		if w.patient == nil {
			n.By = "Delegate of the patient"
		}
		g, err := n.Group(found[0])
		if err != nil {
			return asNote(err)
		}
		id, err := c.enter(ctx, w, g, instead)
		if err != nil {
			return explainErased(err)
		}
		return c.show(map[string]any{"record": id, "class": found[0]}, func(out io.Writer) {
			fmt.Fprintf(out, "Record %s of %s is yours. Who may read the class may read it.\n", short(id), found[0])
		})
	})
	f := cmd.Flags()
	f.StringVar(&class, "class", "", "the `CLASS` that it belongs to, such as allergies or documents")
	f.StringVar(&title, "title", "", "a `TITLE`")
	f.StringVar(&s.text, "text", "", "your `WORDS`")
	f.StringVar(&s.file, "text-file", "", "your words, in `FILE` (- for standard input)")
	f.StringVar(&file, "file", "", "a PDF, JPEG, PNG or plain text `FILE`")
	f.StringVar(&instead, "instead-of", "", "a new version of this `RECORD` of your own (a delegate: its whole id)")
	f.StringVar(&handle, "handle", "", "with --as: the patient's `HANDLE`")
	cmd.MarkFlagsMutuallyExclusive("text", "text-file", "file")
	cmd.MarkFlagsOneRequired("text", "text-file", "file")
	_ = cmd.MarkFlagRequired("class")
	return cmd
}

// note reads what somebody writes.
func (c *cli) note(s said, file string) (n client.Note, err error) {
	n.At = time.UnixMilli(int64(now()))
	if file == "" {
		n.Text, err = s.read(c.in, client.NoteTextBytesMax)
		return n, err
	}
	f, err := os.Open(file)
	if err != nil {
		return n, err
	}
	defer func() { _ = f.Close() }()
	n.Name = filepath.Base(file)
	n.File, err = io.ReadAll(io.LimitReader(f, client.NoteFileBytesMax+1))
	return n, err
}

func asNote(err error) error {
	if errors.Is(err, client.ErrNote) {
		return failed("bad-note", err.Error(), "Make it smaller or save it as one of these, and try again.")
	}
	return err
}

// enter writes one record, or a new version of another.
func (c *cli) enter(ctx context.Context, w *writer, g fhir.Group, instead string) (protocol.RecordID, error) {
	if instead != "" {
		about, err := c.named(ctx, w, instead)
		if err != nil {
			return about, err
		}
		return w.Amend(ctx, w.by, w.handle, about, g)
	}
	written, failed, err := w.WriteRecords(ctx, w.by, w.handle, []fhir.Group{g}, nil)
	switch {
	case err != nil:
		return protocol.RecordID{}, err
	case len(failed) > 0:
		return protocol.RecordID{}, failed[0].Err
	}
	return written[0].Record, nil
}

// named finds a record: by its first digits in the patient's own journal, by the whole id for a delegate.
func (c *cli) named(ctx context.Context, w *writer, text string) (protocol.RecordID, error) {
	if w.patient == nil {
		id, err := protocol.ParseRecordID(text)
		if err != nil {
			return id, usage("%q is not a record's id, which has 32 digits", printable(text))
		}
		return id, nil
	}
	found, err := w.patient.findRecords(ctx, []string{text})
	if err != nil {
		return protocol.RecordID{}, err
	}
	return found[0], nil
}

// subject is the record that a statement is about. The patient's journal tells its class; a delegate says which it is.
func (c *cli) subject(ctx context.Context, handle, class, record string) (*writer, client.Subject, error) {
	w, err := c.writer(ctx, handle)
	if err != nil {
		return nil, client.Subject{}, err
	}
	if !w.own() {
		return nil, client.Subject{}, usage("only the patient, or a delegate who acts, makes statements")
	}
	about, err := c.named(ctx, w, record)
	if err != nil {
		return nil, client.Subject{}, err
	}
	if w.patient != nil {
		s, err := w.OwnSubject(ctx, w.patient.keys, about)
		return w, s, err
	}
	if class == "" {
		return nil, client.Subject{}, usage("say of which --class the record is")
	}
	found, err := classes([]string{class})
	if err != nil {
		return nil, client.Subject{}, err
	}
	return w, client.Subject{By: w.by, Handle: w.handle, Record: about, Class: found[0]}, nil
}
