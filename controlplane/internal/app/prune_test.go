package app

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestRecordsArePrunedByTheSettings(t *testing.T) {
	t.Parallel()
	st := storetest.New(t)
	if err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.JoinTokens().Insert(ctx, inventory.JoinToken{Hash: "h",
			Expires: time.UnixMilli(1000)})
	}); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	a := &App{st: st, log: slog.New(slog.NewTextHandler(&out, nil))}
	if err := a.prune(t.Context()); err != nil || out.Len() > 0 {
		t.Errorf("without a setting: %v, %s", err, &out)
	}
	a.cfg.RetainIdentities = time.Hour
	if err := a.prune(t.Context()); err != nil || !strings.Contains(out.String(), "tokens=1") {
		t.Errorf("pruned: %v, %s", err, &out)
	}
}

// Two control planes, each with a certificate authority of its own, on one store.
func TestASecondAuthorityOnOneStoreIsRefused(t *testing.T) {
	t.Parallel()
	st, log := storetest.New(t), slog.New(slog.DiscardHandler)
	start := func(dir string) error {
		_, err := newRegistry(t.Context(), Config{StateDir: dir}, st, []string{"192.0.2.1:7440"},
			func(string) {}, nil, nil, nil, log)
		return err
	}
	first := t.TempDir()
	for range 2 {
		if err := start(first); err != nil {
			t.Fatal(err)
		}
	}
	if err := start(t.TempDir()); errs.ReasonOf(err) != errorsv1.Reason_REASON_STORE_MISMATCH ||
		!strings.Contains(err.Error(), "belongs to the one with pin") {
		t.Errorf("a second authority: %v", err)
	}
	if err := start(first); err != nil {
		t.Errorf("the first one afterwards: %v", err)
	}
}

// Two control planes, each with a key of its own for the audit, on one store.
func TestASecondAuditKeyOnOneStoreIsRefused(t *testing.T) {
	t.Parallel()
	st, log := storetest.New(t), slog.New(slog.DiscardHandler)
	start := func(dir string) error {
		if err := os.MkdirAll(filepath.Join(dir, "ca"), 0o700); err != nil {
			t.Fatal(err)
		}
		a := &App{st: st, log: log, cfg: Config{StateDir: dir}}
		return a.openAudit(t.Context())
	}
	first := t.TempDir()
	for range 2 {
		if err := start(first); err != nil {
			t.Fatal(err)
		}
	}
	second := t.TempDir()
	if err := start(second); errs.ReasonOf(err) != errorsv1.Reason_REASON_STORE_MISMATCH ||
		!strings.Contains(errs.HintOf(err).String(), filepath.Join(second, "ca", "audit.key")) {
		t.Errorf("a second key: %v (%s)", err, errs.HintOf(err))
	}
}
