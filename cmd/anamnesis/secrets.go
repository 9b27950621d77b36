package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"
)

// secrets are where passphrases come from: a file, the environment, or somebody at the terminal. They are never arguments, which other
// users of the machine could see, and never printed.
type secrets struct {
	asked map[string]string // per file, so that one command asks once
}

const (
	passphraseVariable = "ANAMNESIS_PASSPHRASE" //nolint:gosec // the name of a variable, not what is in it
	passphraseBytesMax = 4 << 10
)

// passphrase is the one for an existing file.
func (c *cli) passphrase(file string) (string, error) {
	if c.passphraseFile != "" {
		return firstLine(c.passphraseFile)
	}
	if p, ok := devPassphrase(file); ok {
		return p, nil
	}
	if p := os.Getenv(passphraseVariable); p != "" {
		return p, nil
	}
	if p, ok := c.secrets.asked[file]; ok {
		return p, nil
	}
	p, err := c.ask("Passphrase of " + file + ": ")
	if err != nil {
		return "", err
	}
	if c.secrets.asked == nil {
		c.secrets.asked = map[string]string{}
	}
	c.secrets.asked[file] = p
	return p, nil
}

// devPassphrase finds the passphrase of a development network's member, or of a node's folder: it lies in the same folder as the key, readable
// by the same people.
func devPassphrase(file string) (string, bool) {
	of := filepath.Dir(file)
	if name := filepath.Base(of); name != "members" && name != "nodes" {
		return "", false
	}
	network := filepath.Dir(of)
	if _, err := os.Stat(filepath.Join(network, "network.json")); err != nil {
		return "", false
	}
	p, err := firstLine(filepath.Join(network, "passphrase"))
	return p, err == nil
}

// newPassphrase is the one for a file about to be written. At a terminal it is asked for twice.
func (c *cli) newPassphrase(file, from string) (string, error) {
	if from != "" {
		return firstLine(from)
	}
	if p := os.Getenv(passphraseVariable); p != "" {
		return p, nil
	}
	p, err := c.ask("New passphrase for " + file + ": ")
	if err != nil {
		return "", err
	}
	if p == "" {
		return "", failed("no-passphrase", "an empty passphrase protects nothing", "Choose one; a few random words are good.")
	}
	again, err := c.ask("Again: ")
	if err != nil {
		return "", err
	}
	if p != again {
		return "", failed("wrong-passphrase", "the two passphrases differ", "Run it again.")
	}
	return p, nil
}

// ask reads a line from the terminal without showing it.
func (c *cli) ask(prompt string) (string, error) {
	in, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", failed("no-passphrase", "a passphrase is needed, and there is no terminal to ask at", "Set $"+passphraseVariable+" or give --passphrase-file.")
	}
	fmt.Fprint(c.err, prompt)
	p, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(c.err)
	return string(p), err
}

func firstLine(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	line, err := bufio.NewReader(io.LimitReader(f, passphraseBytesMax)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", failed("no-passphrase", "the first line of "+path+" is empty", "Write the passphrase there.")
	}
	return line, nil
}

// confirm asks before something that cannot be undone. Without a terminal it takes --yes for an answer, and nothing else.
func (c *cli) confirm(question string) error {
	if c.yes {
		return nil
	}
	if !isTerminal(c.in) {
		return &failure{Code: "not-confirmed", Title: "this needs a confirmation, and there is no terminal to ask at", Detail: question + " Add --yes to say so.", exit: exitUsage}
	}
	fmt.Fprint(c.err, question+" [y/N] ")
	line, err := bufio.NewReader(io.LimitReader(c.in, 1<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return failed("not-confirmed", "nothing was done", "")
}
