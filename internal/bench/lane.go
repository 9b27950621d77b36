package bench

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/anamnesis-health/anamnesis/internal/api"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// lane is one kept-alive HTTP/1.1 connection to a gateway. It writes requests and reads answers by hand, since the load shares the cores
// with the nodes that it loads.
type lane struct {
	conn net.Conn
	r    *bufio.Reader
	host string
	head []byte
	body []byte
}

func dialLane(gateway string) (*lane, error) {
	host := strings.TrimPrefix(gateway, "http://")
	conn, err := net.DialTimeout("tcp", host, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &lane{conn: conn, r: bufio.NewReaderSize(conn, 16<<10), host: host}, nil
}

// request is a submission ready to be sent.
type request struct {
	contentType string
	body        []byte
	envelopes   int
}

// asParcel sends envelopes as one transaction.
func asParcel(envelopes [][]byte) request {
	return request{"application/cbor", protocol.EncodeParcel(envelopes), len(envelopes)}
}

// asSubmission sends envelopes that the gateway treats one by one.
func asSubmission(envelopes [][]byte) request {
	b := []byte(`{"envelopes":[`)
	for i, e := range envelopes {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, e)
		b = append(b, '"')
	}
	return request{"application/json", append(b, "]}"...), len(envelopes)}
}

var errAnswer = errors.New("the gateway's answer was not expected")

// post sends a submission and returns how many of its envelopes were executed and accepted.
func (l *lane) post(q request) (accepted int, err error) {
	h := append(l.head[:0], "POST "+api.PathActions+" HTTP/1.1\r\nHost: "...)
	h = append(append(h, l.host...), "\r\nAccept: application/cbor\r\nContent-Type: "...)
	h = append(append(h, q.contentType...), "\r\nContent-Length: "...)
	h = append(strconv.AppendInt(h, int64(len(q.body)), 10), "\r\n\r\n"...)
	l.head = h
	buffers := net.Buffers{h, q.body}
	if _, err := buffers.WriteTo(l.conn); err != nil {
		return 0, err
	}
	status, body, err := l.answer()
	if err != nil {
		return 0, err
	}
	if status != "200" {
		return 0, fmt.Errorf("%w: status %s: %.300s", errAnswer, status, body)
	}
	return countAccepted(body, q.envelopes)
}

// answer reads a response that has a Content-Length, as the gateway's have.
func (l *lane) answer() (status string, body []byte, err error) {
	line, err := l.r.ReadSlice('\n')
	if err != nil {
		return "", nil, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return "", nil, errAnswer
	}
	status = string(line[9:12])
	length := -1
	for {
		line, err := l.r.ReadSlice('\n')
		if err != nil {
			return "", nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(v)); err != nil {
				return "", nil, errAnswer
			}
		}
	}
	if length < 0 || length > 1<<20 {
		return "", nil, errAnswer
	}
	if cap(l.body) < length {
		l.body = make([]byte, length)
	}
	l.body = l.body[:length]
	_, err = io.ReadFull(l.r, l.body)
	return status, l.body, err
}

// countAccepted reads the canonical encoding of []protocol.Result, without reflection.
func countAccepted(b []byte, want int) (accepted int, err error) {
	n, b, ok := cutHead(b, 0x80)
	if !ok || n != uint64(want) {
		return 0, fmt.Errorf("%w: results for %d envelopes of %d", errAnswer, n, want)
	}
	for range n {
		if len(b) < 35 || b[0] != 0x84 || b[1] != 0x58 || b[2] != 0x20 {
			return 0, errAnswer
		}
		b = b[35:]
		var reason uint64
		if reason, b, ok = cutHead(b, 0); !ok {
			return 0, errAnswer
		}
		for range 2 {
			if _, b, ok = cutHead(b, 0); !ok {
				return 0, errAnswer
			}
		}
		if protocol.Reason(reason) == protocol.Accepted {
			accepted++
		}
	}
	return accepted, nil
}

// cutHead reads a CBOR head of a major type.
func cutHead(b []byte, major byte) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 || b[0]&0xe0 != major {
		return 0, nil, false
	}
	short := b[0] & 0x1f
	if short < 24 {
		return uint64(short), b[1:], true
	}
	size := 1 << (short - 24)
	if short > 27 || len(b) < 1+size {
		return 0, nil, false
	}
	for _, c := range b[1 : 1+size] {
		n = n<<8 | uint64(c)
	}
	return n, b[1+size:], true
}
