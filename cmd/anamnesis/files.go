package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/anamnesis-health/anamnesis/internal/wallet"
)

func copyFile(w io.Writer, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = io.Copy(w, f)
	return err
}

// free tells whether files can be written: none of the names is taken. Empty ones are none.
func free(files ...string) error {
	for _, file := range files {
		if _, err := os.Lstat(file); file != "" && err == nil {
			return fmt.Errorf("%w: %s", wallet.ErrExists, file)
		}
	}
	return nil
}

// writeWhole writes a new file whole or not at all, durably.
func writeWhole(file string, write func(io.Writer) error) (bytes int64, err error) {
	if err := free(file); err != nil {
		return 0, err
	}
	part := file + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(part)
		}
	}()
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if info, statErr := f.Stat(); statErr == nil {
		bytes = info.Size()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	if err = os.Link(part, file); err != nil { // unlike a renaming, it never replaces
		return 0, err
	}
	return bytes, os.Remove(part)
}
