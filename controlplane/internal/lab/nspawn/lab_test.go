//go:build lab

package nspawn_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

func TestMain(m *testing.M) {
	handled, err := nspawn.Supervise(os.Args)
	if !handled {
		handled, err = crashChild(os.Args)
	}
	if !handled {
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// limit is far above what anything here takes, so that a failure says what it waited for.
const limit = 3 * time.Minute

var trixieImages = []nspawn.ImageSpec{{Name: "test-masked", Suite: "trixie",
	MaskUnits:     []string{"mariadb.service"},
	DefaultVolume: &provider.DefaultVolume{SizeBytes: 64 << 20, Filesystem: "ext4"}}}

func labConfig(t *testing.T, name string) nspawn.Config {
	t.Helper()
	name = fmt.Sprintf("t-%s-%d", name, os.Getpid())
	return configOf(name, filepath.Join(os.TempDir(), "understudy-"+name))
}

func configOf(name, dir string) nspawn.Config {
	return nspawn.Config{Name: name, Dir: dir, PoolBytes: 8 << 30,
		Images: trixieImages, StopLimit: 20 * time.Second,
		Delays: nspawn.Delays{Snapshot: 50 * time.Millisecond,
			VolumeCreate: 50 * time.Millisecond, Attach: 50 * time.Millisecond,
			Delete: 50 * time.Millisecond, MachineStart: 50 * time.Millisecond}}
}

// newLab is a lab of the test's own, which is taken down whatever the test left.
func newLab(t *testing.T, name string) *nspawn.Provider {
	t.Helper()
	return labOf(t, labConfig(t, name))
}

func labOf(t *testing.T, cfg nspawn.Config) *nspawn.Provider {
	t.Helper()
	p, err := nspawn.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Sweep(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := p.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.BuildImage(t.Context(), "trixie", func(line string) { t.Log(line) }); err != nil {
		t.Fatal(err)
	}
	return p
}

func createMachine(t *testing.T, p provider.Provider, name, image string) provider.Machine {
	t.Helper()
	m, err := p.CreateMachine(t.Context(), provider.CreateMachineRequest{ClientToken: name,
		Name: name, Image: image,
		Tags: map[string]string{"test": t.Name()}, UserData: []byte(`{"token":"secret"}`)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// until polls as a caller of a cloud does.
func until(t *testing.T, what string, done func() (bool, string)) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(limit)
	for {
		ok, now := done()
		if ok {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("not %s after %s: %s", what, limit, now)
		}
	}
}

func untilState(t *testing.T, p provider.Provider, id string,
	want provider.MachineState) provider.Machine {
	t.Helper()
	var m provider.Machine
	until(t, string(want), func() (bool, string) {
		var err error
		if m, err = p.GetMachine(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		return m.State == want, fmt.Sprintf("%s (%s)", m.State, m.Reason)
	})
	return m
}

// answers waits until a command in the machine succeeds.
func answers(t *testing.T, p *nspawn.Provider, id string, argv ...string) string {
	t.Helper()
	var out string
	until(t, fmt.Sprint(argv), func() (bool, string) {
		var err error
		out, err = p.Exec(t.Context(), id, nspawn.Command{Argv: argv})
		return err == nil, fmt.Sprint(out, err)
	})
	return out
}
