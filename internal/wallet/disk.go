package wallet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Errors of files.
var (
	ErrExists  = errors.New("a file of that name is there already")
	ErrChanged = errors.New("the file was changed by another program since it was read")
)

// CreateFile writes a new file, readable by its owner alone, whole or not at all, and durable on return. It never replaces anything:
// if the name is taken, the error wraps ErrExists.
func CreateFile(path string, data []byte) error {
	return install(path, data, func(temporary string) error {
		err := os.Link(temporary, path) // unlike Rename, it fails if path exists
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: %s", ErrExists, path)
		}
		return err
	})
}

// ReplaceFile puts data in the place of what ReadFile returned as old: whole or not at all, durable on return. If the file differs from
// old by now, nothing is written and the error wraps ErrChanged.
func ReplaceFile(path string, old, data []byte) error {
	return install(path, data, func(temporary string) error {
		now, err := ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Equal(now, old) {
			return fmt.Errorf("%w: %s", ErrChanged, path)
		}
		return os.Rename(temporary, path)
	})
}

// ReadFile reads at most WalletFileBytesMax bytes; a larger file is refused with ErrCorrupt.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, WalletFileBytesMax+1))
	if err != nil {
		return nil, err
	}
	if len(data) > WalletFileBytesMax {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrCorrupt, path, WalletFileBytesMax)
	}
	return data, nil
}

// install writes data to a temporary file beside path, has publish give it its name, and syncs both file and directory.
func install(path string, data []byte, publish func(temporary string) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already after a rename
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := publish(f.Name()); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
