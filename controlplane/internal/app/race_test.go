package app

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// firstStart makes what a first start makes, and answers with the pin of the root.
func firstStart(t *testing.T, st *store.Store, dir string) (pin string, err error) {
	_, err = newRegistry(t.Context(), Config{StateDir: dir}, st,
		[]string{"192.0.2.1:7440"}, func(string) {}, nil, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	root, err := identity.ReadCertificate(filepath.Join(dir, "ca", "ca.pem"))
	if err != nil {
		return "", err
	}
	return identity.Pin(root), nil
}

// atOnce has two control planes start for the first time, on one store.
func atOnce(t *testing.T, stores [2]*store.Store, dirs [2]string) (pins [2]string,
	faults [2]error) {
	t.Helper()
	var starts sync.WaitGroup
	for i := range stores {
		starts.Go(func() { pins[i], faults[i] = firstStart(t, stores[i], dirs[i]) })
	}
	starts.Wait()
	return pins, faults
}

// inOneFolder wants that both have the same root.
func inOneFolder(t *testing.T, stores [2]*store.Store) {
	t.Helper()
	dir := t.TempDir()
	pins, faults := atOnce(t, stores, [2]string{dir, dir})
	if err := errors.Join(faults[:]...); err != nil || pins[0] == "" || pins[0] != pins[1] {
		t.Fatalf("in one folder: %v, pins %q", err, pins)
	}
}

// inOwnFolders wants that one has a root, the other has none and says why, and that it has the same
// one once it has the folder.
func inOwnFolders(t *testing.T, stores [2]*store.Store) {
	t.Helper()
	dirs := [2]string{t.TempDir(), t.TempDir()}
	pins, faults := atOnce(t, stores, dirs)
	won, lost := 0, 1
	if faults[0] != nil {
		won, lost = 1, 0
	}
	if faults[won] != nil || errs.ReasonOf(faults[lost]) != errorsv1.Reason_REASON_STORE_MISMATCH ||
		!strings.Contains(faults[lost].Error(), "belongs to the one with pin "+pins[won]) {
		t.Fatalf("with a folder each: %v", faults)
	}
	folder := filepath.Join(dirs[lost], "ca")
	if _, err := os.Stat(filepath.Join(folder, "ca.pem")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("there is a second root: %v", err)
	}
	err := errors.Join(os.RemoveAll(folder),
		os.CopyFS(folder, os.DirFS(filepath.Join(dirs[won], "ca"))),
		os.Chmod(filepath.Join(folder, "key.pem"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	if pin, err := firstStart(t, stores[lost], dirs[lost]); err != nil || pin != pins[won] {
		t.Fatalf("with the folder of the first one: %v, pin %s, want %s", err, pin, pins[won])
	}
}

// Two control planes start for the first time at once, on one file.
func TestFirstStartsRaceOnAFile(t *testing.T) {
	t.Parallel()
	empty, err := storetest.Empty()
	if err != nil {
		t.Fatal(err)
	}
	for range 25 {
		for _, race := range []func(*testing.T, [2]*store.Store){inOneFolder, inOwnFolders} {
			path := filepath.Join(t.TempDir(), "understudy.db")
			if err := os.WriteFile(path, empty, 0o600); err != nil {
				t.Fatal(err)
			}
			race(t, opened(t, store.Config{Path: path}))
		}
	}
}

// opened is a store twice, as two processes have it.
func opened(t *testing.T, cfg store.Config) (twice [2]*store.Store) {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	for i := range twice {
		st, err := store.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		twice[i] = st
	}
	return twice
}
