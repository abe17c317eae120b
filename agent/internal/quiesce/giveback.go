package quiesce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/understudy-db/understudy/agent/internal/freeze"
	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/proto/atomicfile"
)

// GiveBack gives back what a process held, however the process ended. Systemd runs it after the
// process, and the agent has systemd run it again until all of it has succeeded. It needs no agent.
type GiveBack struct {
	// Dir is the agent's runtime directory.
	Dir string
	// Run names the process.
	Run string
	// Saw is how systemd saw the process end: the unit's result, the exit's code and status.
	Saw string
	// Mount is thawed unless nothing of the process's is frozen there; empty where nothing was to
	// be frozen.
	Mount string
	// Start are the units to start, in the mode offline.
	Start []string
	// Exec runs systemctl. Required.
	Exec *hostexec.Runner
	// Appliers starts a replica's replication, which the agent does as well; may be nil.
	Appliers func(ctx context.Context) error
	// Notify tells systemd that it goes on (sd_notify).
	Notify func(state string)
}

// systemctlTime bounds systemctl, which only hands systemd the jobs.
const systemctlTime = 10 * time.Second

// StoppedFile names the appliers to start; see Appliers.
func (g GiveBack) StoppedFile() string { return stoppedFile(g.Dir) }

// Do tries everything, whatever of it fails. It writes how systemd saw the process end only when
// nothing has.
func (g GiveBack) Do(ctx context.Context) error {
	ctx, done := context.WithCancel(ctx)
	defer done()
	// It ends by itself, once the process is dead.
	go askForTime(ctx, g.Notify, func() bool { return true })
	thaw := g.Mount != "" && g.mayBeFrozen()
	if thaw {
		// At once: writers wait. What it cannot thaw yet is left to Outlast.
		_, _ = freeze.Thaw(g.Mount)
	}
	err := g.start(ctx)
	g.startAppliers(ctx)
	if thaw {
		// MariaDB does not wait for a process that is long in dying.
		err = errors.Join(err, g.thawForGood(ctx))
	}
	if err != nil {
		return fmt.Errorf("cannot resume MariaDB: %w", err)
	}
	return atomicfile.Write(exitFile(g.Dir), []byte(g.Run+" "+g.Saw+"\n"), 0o600)
}

// askForTime keeps systemd from ending what goes on, for as long as it is wanted.
func askForTime(ctx context.Context, notify func(state string), wanted func() bool) {
	again := time.NewTicker(offlineStop / 5)
	defer again.Stop()
	for {
		if wanted() {
			notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", offlineStop.Microseconds()))
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

// mayBeFrozen says whether the process may have frozen the filesystem, with no thaw since that
// counts. A freeze has no owner: without that word the freeze is another program's, and stays. A
// process of an earlier version leaves no word.
func (g GiveBack) mayBeFrozen() bool {
	r, found := readRecovery(g.Dir)
	if !found || r.Run != g.Run || !r.Marked {
		return true
	}
	return isMarked(frozenFile(g.Dir))
}

// thawForGood thaws until the process can freeze no more. What fails beside it is tried again, and
// thaws nothing then.
func (g GiveBack) thawForGood(ctx context.Context) error {
	if err := freeze.Outlast(ctx, g.Mount, UnitName); err != nil {
		return err
	}
	return unmark(frozenFile(g.Dir))
}

// start starts MariaDB, in one call: systemd starts the sockets before what they wake, and refuses
// to afterwards. A process that succeeded has started it: whoever stops it since means it.
func (g GiveBack) start(ctx context.Context) error {
	if len(g.Start) == 0 || strings.HasPrefix(g.Saw, "success exited ") {
		return nil
	}
	held := releaseHeld()
	_, err := g.Exec.Run(ctx, hostexec.Command{Tool: "systemctl", Timeout: systemctlTime,
		Args: append([]string{"--no-block", "start", "--"}, g.Start...)})
	return errors.Join(held, err)
}

func (g GiveBack) startAppliers(ctx context.Context) {
	if g.Appliers == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, resumeTime)
	defer cancel()
	if err := g.Appliers(ctx); err != nil {
		slog.Warn("cannot start replication again yet; the agent will", "error", err)
	}
}
