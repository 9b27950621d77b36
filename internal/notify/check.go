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
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: "mode=ro&immutable=1"}).String())
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
