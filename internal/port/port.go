// Package port finds free TCP ports and keeps them for whoever got them: across all processes of this program on a machine, and also while
// nothing listens there, as between the stop of a node and its return.
//
// A port is kept by a UDP socket on the same number, which is another name space and ends with the process, however it ends.
package port

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// ErrTaken says that a port is somebody's.
var ErrTaken = errors.New("the port is taken")

// Ports come from below those that systems give to outgoing connections: one that is kept must not become the near end of some connection.
const (
	lowest  = 20_000
	highest = 32_767
)

// attempts is how many ports are tried. On a machine where so many are taken, something is wrong.
const attempts = 256

// Kept is a TCP address that no other caller of this package is given until Release.
type Kept struct {
	Address string // host:port
	mark    net.PacketConn
}

// Release lets others have the port.
func (k *Kept) Release() {
	if k != nil && k.mark != nil {
		_ = k.mark.Close()
	}
}

// Free keeps some free port of a host (an IP address or a name).
func Free(host string) (*Kept, error) {
	return free(host, lowest, highest)
}

func free(host string, lowest, highest int) (*Kept, error) {
	var err error
	for range attempts {
		var k *Kept
		if k, err = Keep(net.JoinHostPort(host, strconv.Itoa(lowest+rand.IntN(highest-lowest+1)))); err == nil {
			return k, nil
		}
	}
	return nil, fmt.Errorf("no free port on %s: %w", host, err)
}

// Keep keeps one address. It returns ErrTaken if something listens there or another has kept it.
func Keep(address string) (*Kept, error) {
	mark, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTaken, err)
	}
	if err := Try(address); err != nil {
		_ = mark.Close()
		return nil, err
	}
	return &Kept{Address: address, mark: mark}, nil
}

// Try returns ErrTaken if one could not listen at an address now.
func Try(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTaken, err)
	}
	return l.Close()
}
