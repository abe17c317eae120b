package store_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// TestLockedStoreSaysSo takes as long as a write waits for others: every caller hears of the lock,
// not that its own time is up.
func TestLockedStoreSaysSo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "u.db")
	st := opener(store.Config{Path: path})(t)
	other, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 29*time.Second) // a call has 30 s
	defer cancel()
	write := func() error {
		return st.Write(ctx,
			func(context.Context, *store.Tx) error { return nil })
	}
	var writers errgroup.Group
	for range 3 {
		writers.Go(func() error {
			if err := write(); !errors.Is(err, job.ErrUnavailable) ||
				!strings.Contains(err.Error(), "locked") {
				t.Errorf("a write into a locked store: %v", err)
			}
			return nil
		})
	}
	_ = writers.Wait()
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := write(); err != nil {
		t.Errorf("a write once the lock is gone: %v", err)
	}
}
