package store_test

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
)

func opener(cfg store.Config) storetest.Open {
	cfg.Logger = slog.New(slog.DiscardHandler)
	return func(t *testing.T) *store.Store {
		t.Helper()
		st, err := store.Open(t.Context(), cfg)
		if err != nil {
			t.Error(err)
			return nil
		}
		t.Cleanup(func() {
			for range 2 { // closing twice is fine
				if err := st.Close(); err != nil {
					t.Error(err)
				}
			}
		})
		return st
	}
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Open {
		return opener(store.Config{Path: filepath.Join(t.TempDir(), "with space & ?#%.db")})
	})
}

func TestSQLiteFileIsPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opener(store.Config{Path: filepath.Join(dir, "u.db")})(t)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600", d.Name(), info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]store.Config{
		"give either a file or a MariaDB address":  {},
		"give either a file or a MariaDB address ": {Path: "x", DSN: "y"},
		"no such file or directory": {Path: filepath.Join(t.TempDir(), "no",
			"such", "dir.db")},
		"the MariaDB address cannot be read":    {DSN: "user:hunter2@nonsense"},
		"the MariaDB address names no database": {DSN: "user:hunter2@tcp(127.0.0.1:1)/"},
		"connect to MariaDB: dial tcp 127.0.0.1:1: c": {
			DSN: "user:hunter2@tcp(127.0.0.1:1)/understudy", Patience: time.Nanosecond},
	} {
		_, err := store.Open(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(name)) {
			t.Errorf("error = %v, want %s", err, name)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}
