package notify

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
)

// Check reads the database of a stopped node's gateway folder without changing it: SQLite's own look at its pages, and every row. A folder
// without one is in order. SQLite keeps no checksums of rows, so a changed letter of an address goes unseen.
func Check(ctx context.Context, dir string) (err error) {
	path, err := filepath.Abs(filepath.Join(dir, FileName))
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	copied, err := copyOf(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(filepath.Dir(copied))) }()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: copied}).String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var said string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&said); err != nil {
		return err
	}
	if said != "ok" {
		return fmt.Errorf("SQLite: %.200s", said)
	}
	if _, err := rowsOf(db, "true"); err != nil {
		return err
	}
	var waiting int
	return db.QueryRowContext(ctx, "SELECT count(*) FROM waiting").Scan(&waiting)
}

// copyOf copies the database with its write-ahead log, in which all of it may still lie after a killed process, to a folder of its own: reading
// the log changes files.
func copyOf(path string) (string, error) {
	dir, err := os.MkdirTemp("", "anamnesis-check-")
	if err != nil {
		return "", err
	}
	for _, suffix := range []string{"", "-wal"} {
		raw, err := os.ReadFile(path + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, FileName+suffix), raw, 0o600)
		}
		if err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return filepath.Join(dir, FileName), nil
}
