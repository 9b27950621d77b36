package node

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/anamnesis-health/anamnesis/internal/wallet"
	"github.com/anamnesis-health/anamnesis/protocol"
)

// CheckDev checks what lies in a development network's folder besides the nodes': the description in its one spelling, the passphrase, and
// the members' actor files, each against the genesis. It returns everything that is wrong.
func CheckDev(dir string) (problems []error) {
	g, names, passphrase, err := ReadDev(dir)
	if err != nil {
		return []error{err}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "network.json"))
	if err != nil {
		return []error{err}
	}
	problems = append(checkDevFile(raw, g), checkPassphrase(dir, passphrase))
	for i, m := range g.Members {
		if names[i] != slug(m.Name) {
			problems = append(problems, fmt.Errorf("network.json: member %d is called %q", i+1, names[i]))
			continue
		}
		problems = append(problems, checkActor(filepath.Join(dir, "members", names[i]+".actor"), passphrase, g.Chain, m))
	}
	return slices.DeleteFunc(problems, func(err error) bool { return err == nil })
}

func checkDevFile(raw []byte, g protocol.Genesis) (problems []error) {
	bad := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("network.json: "+format, args...))
	}
	var f devFile
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		bad("%v", err)
		return problems
	}
	if again, err := json.MarshalIndent(f, "", "  "); err != nil || !bytes.Equal(append(again, '\n'), raw) {
		bad("it is not spelt as this program spells it")
	}
	if f.Genesis != hex.EncodeToString(protocol.Encode(g)) {
		bad("the genesis is not in its canonical encoding")
	}
	if err := g.Validate(); err != nil {
		bad("%v", err)
	}
	for _, m := range g.Members {
		a, ok := f.Nodes[m.ID()]
		if !ok {
			bad("%s has no addresses", m.Name)
		}
		for _, address := range []string{a.Engine, a.Peer, a.Gateway} {
			if !isAddress(address) {
				bad("%q is no address", address)
			}
		}
	}
	if len(f.Nodes) != len(g.Members) {
		bad("it has addresses of %d nodes for %d members", len(f.Nodes), len(g.Members))
	}
	return problems
}

// isAddress tells whether s is host:port in its plain spelling, the host an IP address or a name of the DNS's characters.
func isAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return false
	}
	if net.ParseIP(host) != nil {
		return true
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	return host != "" && strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" &&
		strings.Trim(last, "0123456789") != "" // what ends in a number is an IP address, and this one does not parse
}

func checkPassphrase(dir, passphrase string) error {
	raw, err := os.ReadFile(filepath.Join(dir, "passphrase"))
	if err != nil {
		return err
	}
	if passphrase == "" || string(raw) != passphrase+"\n" {
		return errors.New("passphrase: the file is not one line")
	}
	return nil
}

func checkActor(path, passphrase, chain string, m protocol.Member) error {
	bad := func(err error) error { return fmt.Errorf("members/%s: %w", filepath.Base(path), err) }
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	a, err := wallet.DecryptActor(raw, passphrase)
	if err != nil {
		return bad(err)
	}
	if a.Network.Chain != chain || a.Signer() != protocol.MemberSigner(m.ID(), m.Key) {
		return bad(fmt.Errorf("not the key of %s", m.Name))
	}
	return nil
}
