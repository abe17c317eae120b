package quiesce

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// UnitName is the transient unit of the process. Systemd runs one unit of a name at a time.
const UnitName = systemd.TransientPrefix + "quiesce.service"

const (
	// slack is how much later than the process itself systemd ends the unit. With the time of
	// ExecStopPost, a writer waits for less than a second more than the limit.
	slack = 400 * time.Millisecond
	// syncTime bounds what comes before the first lock: the nonce and the sync of the filesystem.
	syncTime = 2 * time.Minute
	// stopTime is the time from SIGTERM to SIGKILL, and the longest of each command afterwards.
	stopTime = 2 * time.Second
	// offlineStop is the same in the mode offline. The process thaws the filesystem and has systemd
	// start MariaDB, both of which ExecStopPost does as well: more time is for a host that is short
	// of it. A process that sees MariaDB come up asks for as long once more.
	offlineStop = 10 * time.Second
	// oomScore keeps the process alive when memory runs out.
	oomScore = -900
	// afterlife is how long the unit of the session before may need to be gone.
	afterlife = 3 * time.Second
)

// UnitReader reads the state of units; *systemd.Manager is one.
type UnitReader interface {
	Get(ctx context.Context, name string) (systemd.Unit, error)
}

// Units reads units, and starts and stops transient ones; *systemd.Manager is one.
type Units interface {
	UnitReader
	StartTransient(ctx context.Context, name string, spec systemd.TransientSpec) error
	StopTransient(ctx context.Context, name string) error
}

// UnitLauncher runs the process as a transient unit of systemd, which enforces the hard limit
// whatever happens to the process: it kills the process, thaws the filesystem, and starts MariaDB
// or its replication.
type UnitLauncher struct {
	// Units is systemd.
	Units Units
	// Program is the agent's own path; it is run as `Program quiesce SOCKET`.
	Program string
	// Mount answers the mount point of the filesystem that the datadir is on;
	// mariadb.Server.DatadirMount.
	Mount func(ctx context.Context) (string, error)
}

// Launch starts the unit.
func (l *UnitLauncher) Launch(ctx context.Context, spec Spec, socket string) error {
	mount, err := l.Mount(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, syncTime+slack)
	defer cancel()
	run := newRun()
	unit, err := l.unit(ctx, spec, socket, mount, run)
	if err != nil {
		return err
	}
	until := time.Now().Add(afterlife)
	for {
		err := l.start(ctx, filepath.Dir(socket), run, spec.Nonce, unit)
		if !errors.Is(err, errs.AlreadyExists) {
			return err
		}
		if time.Now().After(until) {
			return busy(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// start starts the unit, with its recovery where the next agent finds it, unless one runs: that one
// keeps its own.
func (l *UnitLauncher) start(ctx context.Context, dir, run, nonce string,
	unit systemd.TransientSpec) error {
	for _, name := range []string{UnitName, undoUnit} {
		before, err := l.Units.Get(ctx, name)
		switch {
		case err != nil && !errors.Is(err, errs.NotFound):
			return err
		case err == nil && !before.Stopped():
			return fmt.Errorf("%s runs: %w", name, errs.AlreadyExists)
		}
	}
	r := recovery{Run: run, Nonce: nonce, Marked: true, Commands: unit.ExecStopPost}
	if err := atomicfile.WriteJSON(recoveryFile(dir), r); err != nil {
		return fmt.Errorf("cannot quiesce MariaDB: %w", err)
	}
	return l.Units.StartTransient(ctx, UnitName, unit)
}

func (l *UnitLauncher) unit(ctx context.Context, spec Spec, socket, mount,
	run string) (systemd.TransientSpec, error) {
	unit := systemd.TransientSpec{
		Description: "MariaDB quiesced for a snapshot of Understudy",
		Exec:        []string{l.Program, "quiesce", socket},
		Type:        "notify", RuntimeMax: spec.Limit + slack, TimeoutStart: syncTime,
		TimeoutStop: stopTime, OOMScoreAdjust: oomScore,
	}
	giveBack := []string{l.Program, "end-quiesce", "--dir", filepath.Dir(socket), "--run", run,
		"--appliers"}
	if spec.Freeze {
		giveBack = append(giveBack, "--mount", mount)
	}
	if spec.Mode == Offline {
		sockets, err := listening(ctx, l.Units)
		if err != nil {
			return unit, err
		}
		unit.TimeoutStop = offlineStop
		for _, name := range append(sockets, mariadb.Unit) {
			giveBack = append(giveBack, "--start", name)
		}
	}
	unit.ExecStopPost = [][]string{giveBack}
	return unit, nil
}

// Stop stops the unit.
func (l *UnitLauncher) Stop(ctx context.Context) error {
	return l.Units.StopTransient(ctx, UnitName)
}

// Clear stops a unit that an earlier agent left behind, which thaws the filesystem, and makes sure
// of that.
func (l *UnitLauncher) Clear(ctx context.Context, dir string) error {
	if err := l.Stop(ctx); err != nil {
		return fmt.Errorf("cannot stop %s of an earlier agent: %w", UnitName, err)
	}
	if r, found := readRecovery(dir); found {
		if _, ok := r.exited(dir); !ok {
			if err := l.undo(ctx, dir, r); err != nil {
				return err
			}
		}
	}
	return releaseHeld()
}
