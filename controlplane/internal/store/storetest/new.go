package storetest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// New is a store without records, for a test that works with one. It is closed when the test ends.
func New(t testing.TB, change ...func(*store.Config)) *store.Store {
	t.Helper()
	file, err := Empty()
	if err != nil {
		t.Fatal(err)
	}
	cfg := store.Config{Path: filepath.Join(t.TempDir(), "understudy.db"),
		Logger: slog.New(slog.DiscardHandler)}
	for _, do := range change {
		do(&cfg)
	}
	if err := os.WriteFile(cfg.Path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

// Empty is the file that New begins with: its tables are made once. Tests on a clock of their own
// make it before.
var Empty = sync.OnceValues(func() (file []byte, err error) {
	dir, err := os.MkdirTemp("", "storetest")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "understudy.db")
	st, err := store.Open(context.Background(), store.Config{Path: path,
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	if err := st.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})
