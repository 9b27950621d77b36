package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/internal/ledger"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// outcome is what became of one envelope.
type outcome struct {
	envelope []byte
	result   protocol.Result
	err      error
}

// buffers hold bodies and answers of submissions; what goes to the ledger never shares their memory.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const bufferBytesKept = 64 << 10

func putBuffer(b *bytes.Buffer) {
	if b.Cap() <= bufferBytesKept {
		b.Reset()
		buffers.Put(b)
	}
}

// postActions executes envelopes: JSON names them one by one, CBOR is a parcel as it is.
func (s *server) postActions(w http.ResponseWriter, r *http.Request) error {
	began := time.Now()
	var done []outcome
	var err error
	if wantType(r, "application/cbor") == nil {
		done, err = s.submitParcel(w, r)
	} else {
		done, err = s.submitEach(w, r)
	}
	if err != nil {
		return err
	}
	timing(w, "actions", began)
	if strings.Contains(r.Header.Get("Accept"), "application/cbor") {
		return replyCBOR(w, done)
	}
	return s.replyResults(w, done)
}

func (s *server) submitParcel(w http.ResponseWriter, r *http.Request) ([]outcome, error) {
	leave, err := s.largeBody(r)
	if err != nil {
		return nil, err
	}
	parcel, err := readAll(w, r, protocol.ParcelBytesMax)
	leave()
	if err != nil {
		return nil, err
	}
	envelopes, err := protocol.DecodeParcel(parcel)
	if err != nil {
		return nil, err
	}
	results, err := s.SubmitParcel(r.Context(), parcel)
	if err != nil {
		return nil, err
	}
	if len(results) != len(envelopes) {
		return nil, errors.New("the ledger answered for another number of envelopes")
	}
	done := make([]outcome, len(results))
	for i, result := range results {
		done[i] = outcome{envelope: envelopes[i], result: result}
	}
	return done, nil
}

// submitEach executes the envelopes of a Submission side by side. One that fails has its problem in its place; if all fail, the first
// one's problem is the answer.
func (s *server) submitEach(w http.ResponseWriter, r *http.Request) ([]outcome, error) {
	if err := wantType(r, "application/json"); err != nil {
		return nil, err
	}
	leave, err := s.largeBody(r)
	if err != nil {
		return nil, err
	}
	envelopes, err := readSubmission(w, r)
	leave()
	if err != nil {
		return nil, err
	}
	if n := len(envelopes); n == 0 || n > SubmissionEnvelopesMax {
		return nil, bad("envelopes", "A submission has from 1 to "+strconv.Itoa(SubmissionEnvelopesMax)+" envelopes", "This one has "+strconv.Itoa(n)+".")
	}
	done := make([]outcome, len(envelopes))
	one := func(ctx context.Context, i int) {
		done[i].envelope = envelopes[i]
		done[i].result, done[i].err = s.SubmitEnvelope(ctx, envelopes[i])
	}
	var all sync.WaitGroup
	for i := 1; i < len(envelopes); i++ {
		select {
		case s.extra <- struct{}{}:
			all.Go(func() {
				defer func() { <-s.extra }()
				one(r.Context(), i)
			})
		default:
			done[i] = outcome{envelope: envelopes[i], err: busy}
		}
	}
	one(r.Context(), 0)
	all.Wait()
	for _, o := range done {
		if o.err == nil {
			return done, nil
		}
	}
	return nil, done[0].err
}

// largeBody waits for a large body's turn to be read, so that many slow ones cannot fill the memory.
func (s *server) largeBody(r *http.Request) (leave func(), err error) {
	if r.ContentLength >= 0 && r.ContentLength <= bodyBytesLarge {
		return func() {}, nil
	}
	select {
	case s.bodies <- struct{}{}:
		return func() { <-s.bodies }, nil
	case <-r.Context().Done():
		return nil, busy
	}
}

func readSubmission(w http.ResponseWriter, r *http.Request) ([][]byte, error) {
	if r.ContentLength > SubmissionBytesMax {
		return nil, tooLarge(SubmissionBytesMax)
	}
	body := buffers.Get().(*bytes.Buffer)
	defer putBuffer(body)
	if r.ContentLength > 0 {
		body.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	if _, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, SubmissionBytesMax)); err != nil {
		return nil, cutOff(err)
	}
	if envelopes, ok := scanSubmission(body.Bytes()); ok {
		return envelopes, nil
	}
	var in api.Submission
	err := decode(body.Bytes(), &in)
	return in.Envelopes, err
}

// scanSubmission reads the plain spelling of a Submission, {"envelopes":["base64",…]}, without reflection. Whatever else is JSON, or is
// none, it leaves to the decoder.
func scanSubmission(b []byte) ([][]byte, bool) {
	t := text(b)
	if !t.take('{') || !t.word(`"envelopes"`) || !t.take(':') || !t.take('[') {
		return nil, false
	}
	var coded [][]byte
	total := 0
	for {
		c, ok := t.plainString()
		if !ok || len(coded) == SubmissionEnvelopesMax {
			return nil, false
		}
		coded, total = append(coded, c), total+base64.StdEncoding.DecodedLen(len(c))
		if t.take(']') {
			break
		}
		if !t.take(',') {
			return nil, false
		}
	}
	if !t.take('}') || !t.end() {
		return nil, false
	}
	memory := make([]byte, total) // of the envelopes, which the ledger keeps
	for i, c := range coded {
		n, err := base64.StdEncoding.Decode(memory, c)
		if err != nil {
			return nil, false
		}
		coded[i], memory = memory[:n:n], memory[n:]
	}
	return coded, true
}

// text is JSON that is still to be read.
type text []byte

func (t *text) space() {
	for len(*t) > 0 && ((*t)[0] == ' ' || (*t)[0] == '\n' || (*t)[0] == '\t' || (*t)[0] == '\r') {
		*t = (*t)[1:]
	}
}

func (t *text) take(c byte) bool {
	t.space()
	if len(*t) == 0 || (*t)[0] != c {
		return false
	}
	*t = (*t)[1:]
	return true
}

func (t *text) word(w string) bool {
	t.space()
	if len(*t) < len(w) || string((*t)[:len(w)]) != w {
		return false
	}
	*t = (*t)[len(w):]
	return true
}

// plainString is a string without escapes.
func (t *text) plainString() ([]byte, bool) {
	if !t.take('"') {
		return nil, false
	}
	i := bytes.IndexByte(*t, '"')
	if i < 0 {
		return nil, false
	}
	s := (*t)[:i]
	*t = (*t)[i+1:]
	return s, bytes.IndexByte(s, '\\') < 0 && bytes.IndexByte(s, '\n') < 0 && bytes.IndexByte(s, '\r') < 0
}

func (t *text) end() bool { t.space(); return len(*t) == 0 }

// replyCBOR answers with the canonical encoding of []protocol.Result, which has no room for problems: with one, that is the answer.
func replyCBOR(w http.ResponseWriter, done []outcome) error {
	for _, o := range done {
		if o.err != nil {
			return o.err
		}
	}
	b := buffers.Get().(*bytes.Buffer)
	defer putBuffer(b)
	out := appendHead(b.AvailableBuffer(), 0x80, uint64(len(done)))
	for _, o := range done {
		out = append(out, 0x84, 0x58, 0x20)
		out = append(out, o.result.ID[:]...)
		out = appendHead(out, 0, uint64(o.result.Reason))
		out = appendHead(out, 0, o.result.Height)
		out = appendHead(out, 0, o.result.First)
	}
	return send(w, b, headerCBOR, out)
}

// appendHead appends a CBOR head in its shortest form (RFC 8949 §3).
func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

// send writes out, which may have grown in b's memory.
func send(w http.ResponseWriter, b *bytes.Buffer, contentType []string, out []byte) error {
	_, _ = b.Write(out)
	h := w.Header()
	h["Content-Type"] = contentType
	h["Content-Length"] = []string{strconv.Itoa(len(out))}
	write(w, out)
	return nil
}

// replyResults answers with api.Results. The usual result, an executed action that decided nothing, is written without reflection.
func (s *server) replyResults(w http.ResponseWriter, done []outcome) error {
	b := buffers.Get().(*bytes.Buffer)
	defer putBuffer(b)
	out := append(b.AvailableBuffer(), `{"results":[`...)
	for i, o := range done {
		if i > 0 {
			out = append(out, ',')
		}
		full, err := s.result(o)
		if err != nil {
			return err
		}
		if full.Advice == "" && full.Access == nil && full.Problem == nil {
			out = appendResult(out, full)
			continue
		}
		raw, err := json.Marshal(full)
		if err != nil {
			return err
		}
		out = append(out, raw...)
	}
	return send(w, b, headerJSON, append(out, "]}"...))
}

func appendResult(b []byte, r api.Result) []byte {
	b = append(b, `{"id":"`...)
	b = hex.AppendEncode(b, r.ID[:])
	b = append(b, `","ok":`...)
	b = strconv.AppendBool(b, r.OK)
	b = append(b, `,"reason":"`...)
	b = append(b, r.Reason.String()...)
	b = append(b, `","height":`...)
	b = strconv.AppendUint(b, r.Height, 10)
	b = append(b, `,"first":`...)
	b = strconv.AppendUint(b, r.First, 10)
	return append(b, '}')
}

// result is an outcome for people and programs, with the decision if it is an access.
func (s *server) result(o outcome) (api.Result, error) {
	if p := s.problemOf(o.err); p != nil {
		return api.Result{Reason: protocol.BadRequest, Advice: p.Error(), Problem: p}, nil
	}
	out := plainResult(o.result)
	if !out.OK || !mayRequestAccess(o.envelope) {
		return out, nil
	}
	err := s.view(func(v *ledger.View) (err error) {
		out.Access, err = decision(v, o.result, o.envelope)
		return err
	})
	return out, err
}

func plainResult(r protocol.Result) api.Result {
	return api.Result{ID: r.ID, OK: r.OK(), Reason: r.Reason, Advice: r.Reason.Advice(), Height: r.Height, First: r.First}
}

// accessMark stands in every canonical envelope that requests access: an array of two, whose first is the action's type.
var accessMark = []byte{0x82, 0x18, byte(protocol.TypeRequestAccess)}

// mayRequestAccess tells cheaply that an envelope does not.
func mayRequestAccess(envelope []byte) bool { return bytes.Contains(envelope, accessMark) }

// envelopeHead is what precedes the payload in an envelope: tag, array, and the two headers.
const envelopeHeadBytes = 7

// decision finds the outcome of an executed envelope's first RequestAccess, or nil if it has none.
func decision(v *ledger.View, r protocol.Result, envelope []byte) (*api.AccessDecision, error) {
	index, ok := accessIndex(envelope)
	if !ok {
		return nil, nil
	}
	_, entries, ok, err := v.Located(r.ID)
	if err != nil || !ok {
		return nil, err
	}
	for i := range uint64(entries) {
		e, err := v.Entry(r.First + i)
		if err != nil {
			return nil, err
		}
		if e.Entry.Type != protocol.TypeRequestAccess || e.Entry.Index != index {
			continue
		}
		var out protocol.AccessOutcome
		if err := protocol.Decode(e.Entry.Outcome, &out); err != nil {
			return nil, err
		}
		if !out.Permitted { // to the asker, what the patient closed looks like what nobody opened (EHDS Art. 8); the patient's log has the reason
			out.Contracts = nil
			if out.Reason == protocol.Forbidden {
				out.Reason = protocol.NoContract
			}
		}
		return &api.AccessDecision{ID: protocol.DerivedAccessID(r.ID, int(index)), Permitted: out.Permitted, Reason: out.Reason,
			Advice: out.Reason.Advice(), Contracts: list(out.Contracts), Records: list(out.Records), Deadline: out.Deadline}, nil
	}
	return nil, nil
}

// accessIndex is which of an envelope's actions is the first to request access. The envelope is known to be canonical.
func accessIndex(envelope []byte) (uint16, bool) {
	if len(envelope) < envelopeHeadBytes {
		return 0, false
	}
	var payload []byte
	if _, err := cbor.UnmarshalFirst(envelope[envelopeHeadBytes:], &payload); err != nil {
		return 0, false
	}
	var body protocol.Body
	if err := cbor.Unmarshal(payload, &body); err != nil {
		return 0, false
	}
	for i, a := range body.Actions {
		if a.Type == protocol.TypeRequestAccess {
			return uint16(i), true
		}
	}
	return 0, false
}

// list is a list that is [] in JSON when it is empty, never null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// getAction tells what became of an envelope that was executed. The decision on an access is for who signed it.
func (s *server) getAction(w http.ResponseWriter, r *http.Request) error {
	action, err := id(protocol.ParseHash, r.PathValue("id"))
	if err != nil {
		return err
	}
	result, ok, err := s.Ledger.Result(action)
	if err != nil {
		return err
	}
	if !ok {
		return notFound("no-action", "No envelope with this id has been executed",
			"It may still be under way, or it was rejected; what is rejected leaves no trace. After its not-after it can no longer be executed: sign it anew.")
	}
	out := plainResult(result)
	if r.Header.Get("Authorization") == "" {
		return reply(w, out)
	}
	err = s.view(func(v *ledger.View) error {
		a, err := s.ask(v, r)
		if err != nil {
			return err
		}
		_, _, envelope, ok, err := v.Envelope(action)
		if err != nil || !ok {
			return err
		}
		if e, err := v.Entry(result.First); err != nil || !a.is(e.Entry.Signer) {
			return err
		}
		out.Access, err = decision(v, result, envelope)
		return err
	})
	if err != nil {
		return err
	}
	return reply(w, out)
}
