package freeze

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A freeze takes place when its process is as good as dead: the thaws before find nothing frozen.
func TestAFreezeThatComesAfterItsThawIsThawed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		frozen, left, began := false, true, time.Now()
		thaw := func() error { frozen = false; return nil }
		err := outlast(t.Context(), "a.service", thaw, func(string) (bool, error) {
			if time.Since(began) > time.Hour {
				frozen, left = true, false
			}
			return left, nil
		})
		if err != nil || frozen || left {
			t.Errorf("frozen: %t, left: %t: %v", frozen, left, err)
		}
	})
}

func TestWhatCannotBeThawedIsAnError(t *testing.T) {
	t.Parallel()
	broken := errors.New("cannot thaw")
	err := outlast(t.Context(), "a.service", func() error { return broken },
		func(string) (bool, error) { return false, nil })
	if !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	err = outlast(ended, "a.service", func() error { return nil },
		func(string) (bool, error) { return true, nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// The marker is what the timer, the last resort, goes by.
func TestTheMarkerStaysUntilTheFilesystemIsThawed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	marker, file := filepath.Join(dir, "marker"), filepath.Join(dir, "file")
	for _, path := range []string{marker, file} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := ThawMarked(t.Context(), file, marker, "a.service"); err == nil {
		t.Error("a file was thawed")
	}
	if _, err := os.Stat(marker); err != nil {
		t.Error(err)
	}
	if err := ThawMarked(t.Context(), "/", marker, "a.service"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(marker); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestTheGroupOfAUnitIsOnThisHost(t *testing.T) {
	t.Parallel()
	for first, want := range map[string]string{
		"0::/init.scope\n": "/system.slice/a.service",
		"12:pids:/x\n1:name=systemd:/m/y/init.scope\n": "/m/y/system.slice/a.service",
		"0::/\n": "",
	} {
		if got := groupOf("a.service", first); got != want {
			t.Errorf("%q: %q, not %q", first, got, want)
		}
	}
}

// A process whose first thread has ended is left as long as another one is.
func TestAThreadIsAlive(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]bool{"D": true, "R": true, "Z": false, "X": false} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "stat"), []byte("7 (a) b) "+state+" 1 2"),
			0o600); err != nil {
			t.Fatal(err)
		}
		if got := isAlive(dir); got != want {
			t.Errorf("%s: %t", state, got)
		}
	}
	if isAlive(t.TempDir()) {
		t.Error("one that is gone is alive")
	}
}
