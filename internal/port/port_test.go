package port

import (
	"errors"
	"net"
	"strconv"
	"testing"
)

// A kept port is nobody else's, though nothing listens there; its holder can listen, stop and listen again.
func TestKept(t *testing.T) {
	k, err := Free("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	_, number, err := net.SplitHostPort(k.Address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < lowest || n > highest {
		t.Fatalf("%s, %v", k.Address, err)
	}
	for range 2 {
		if _, err := Keep(k.Address); !errors.Is(err, ErrTaken) {
			t.Fatalf("kept twice: %v", err)
		}
		if _, err := free("127.0.0.1", n, n); !errors.Is(err, ErrTaken) {
			t.Fatalf("found free: %v", err)
		}
		if err := Try(k.Address); err != nil {
			t.Fatalf("its holder: %v", err)
		}
	}
	k.Release()
	again, err := free("127.0.0.1", n, n)
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
}

func TestListenedOn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Keep(l.Addr().String()); !errors.Is(err, ErrTaken) {
		t.Fatalf("kept: %v", err)
	}
	if err := Try(l.Addr().String()); !errors.Is(err, ErrTaken) {
		t.Fatalf("free: %v", err)
	}
}
