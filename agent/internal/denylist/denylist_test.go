package denylist_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/denylist"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func open(t *testing.T, path string) *denylist.List {
	t.Helper()
	list, err := denylist.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func set(t *testing.T, list *denylist.List, sequence int64, changed bool, until time.Time,
	serials ...string) {
	t.Helper()
	denied := map[string]time.Time{}
	for _, serial := range serials {
		denied[serial] = until
	}
	got, err := list.Set(sequence, denied)
	if err != nil || got != changed {
		t.Errorf("list %d: changed %t, want %t: %v", sequence, got, changed, err)
	}
}

func holds(t *testing.T, list *denylist.List, denied ...string) {
	t.Helper()
	want := map[string]bool{}
	for _, serial := range denied {
		want[serial] = true
	}
	for _, serial := range []string{"a", "b", "c", "old", ""} {
		if list.Denied(serial) != want[serial] {
			t.Errorf("%q is denied: %t, want %t", serial, list.Denied(serial), want[serial])
		}
	}
}

// A control plane that is restored from a backup has forgotten who was revoked since.
func TestNobodyIsLetInAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "denied.json")
	list, later := open(t, path), time.Now().Add(time.Hour)
	holds(t, list)
	set(t, list, 2, true, later, "a", "b")
	set(t, list, 2, false, later, "a", "b")
	holds(t, list, "a", "b")
	set(t, list, 9, true, later, "b", "c")
	holds(t, list, "a", "b", "c")
	if _, err := list.Set(8, nil); errs.ReasonOf(err) != errorsv1.Reason_REASON_SUPERSEDED {
		t.Errorf("an older list: %v", err)
	}
	list = open(t, path) // an agent that starts again
	holds(t, list, "a", "b", "c")
	set(t, list, 9, false, later, "c")
	if _, err := list.Set(8, nil); errs.ReasonOf(err) != errorsv1.Reason_REASON_SUPERSEDED {
		t.Errorf("an older list after a restart: %v", err)
	}
	set(t, list, 10, true, time.Now().Add(-time.Second), "old", "c")
	holds(t, list, "a", "b") // the certificate of c has expired, and is refused for that
}

func TestAListThatCannotBeKeptIsInForce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path, later := filepath.Join(dir, "denied.json"), time.Now().Add(time.Hour)
	list := open(t, path)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it is told again
		if _, err := list.Set(1, map[string]time.Time{"a": later}); !errors.Is(err,
			errs.Unavailable) {
			t.Errorf("kept nowhere: %v", err)
		}
		holds(t, list, "a")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	set(t, list, 1, true, later, "a")
	holds(t, open(t, path), "a")
}

// Handshakes ask while the disk hangs, and are told of the new list.
func TestADiskThatHangsKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	list := open(t, filepath.Join(t.TempDir(), "denied.json"))
	writing, hangs := make(chan struct{}), make(chan struct{})
	list.WriteBy(func(string, any) error {
		close(writing)
		<-hangs
		return nil
	})
	ended := make(chan error)
	go func() {
		_, err := list.Set(1, map[string]time.Time{"a": time.Now().Add(time.Hour)})
		ended <- err
	}()
	<-writing
	asked := make(chan bool)
	go func() { asked <- list.Denied("a") }()
	select {
	case denied := <-asked:
		if !denied {
			t.Error("the new list counts once it is written")
		}
	case <-time.After(10 * time.Second):
		t.Error("a handshake waits for the disk")
	}
	close(hangs)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "denied.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := denylist.Open(path); !errors.Is(err, errs.DataLoss) {
		t.Errorf("who was revoked would be let in: %v", err)
	}
}
