package quiesce

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// recovery is what systemd runs after the process. It is kept for the agent, which has it run again
// unless it has succeeded: a unit may be killed with all that is in it.
type recovery struct {
	Run   string `json:"run"`   // names the process: the first command writes it
	Nonce string `json:"nonce"` // of its point; empty from an agent of an earlier version
	// Marked says that the process keeps frozenFile; one of an earlier version does not.
	Marked bool `json:"marked"`
	// Commands is one (GiveBack); an agent of an earlier version had several, and had the last
	// write the file.
	Commands [][]string `json:"commands"`
}

func recoveryFile(dir string) string { return filepath.Join(dir, "quiesce.recovery") }

// exitFile has how systemd saw a process end: its run, the result of the unit, and the code and
// status of the exit.
func exitFile(dir string) string { return filepath.Join(dir, "quiesce.exit") }

// newRun names a process.
func newRun() string { return strconv.FormatInt(time.Now().UnixNano(), 36) }

func readRecovery(dir string) (r recovery, found bool) {
	found, err := atomicfile.ReadJSON(recoveryFile(dir), &r)
	return r, found && err == nil
}

// exited says how the process ended; false while what it held is not given back.
func (r recovery) exited(dir string) (string, bool) {
	saw, err := os.ReadFile(exitFile(dir))
	words := strings.Fields(string(saw))
	if err != nil || len(words) == 0 || words[0] != r.Run {
		return "", false
	}
	return exitWords(words[1:]), true
}

const (
	// exitTime bounds the wait for what systemd runs, which thaws the filesystem before it writes
	// the file.
	exitTime = 10 * time.Second
	exitPoll = 50 * time.Millisecond
)

func (r recovery) await(ctx context.Context, dir string) (string, bool) {
	ctx, cancel := context.WithTimeout(ctx, exitTime)
	defer cancel()
	for {
		if why, ok := r.exited(dir); ok {
			return why, true
		}
		select {
		case <-ctx.Done():
			return "", false
		case <-time.After(exitPoll):
		}
	}
}

// exitWords says what systemd's words mean (systemd.exec(5), $SERVICE_RESULT).
func exitWords(saw []string) string {
	words := append(saw, "", "", "")
	switch result, status := words[0], words[2]; result {
	case "signal", "core-dump":
		return "it was killed (signal " + status + ")"
	case "oom-kill":
		return "it was killed, because the host's memory ran out"
	case "timeout":
		return "systemd killed it, because it went on after its limit"
	case "exit-code":
		return "it failed with status " + status + " (journalctl -u " + UnitName + ")"
	}
	return "it ended without a result (journalctl -u " + UnitName + ")"
}

// undoUnit runs the recovery again.
const undoUnit = systemd.TransientPrefix + "quiesce-undo.service"

// Exit says how the process of this nonce ended, as systemd saw it. It leaves alone what quiesced
// MariaDB after that one.
func (l *UnitLauncher) Exit(ctx context.Context, dir, nonce string) (why string, err error) {
	r, _ := readRecovery(dir)
	if r.Nonce != "" && r.Nonce != nonce {
		return "MariaDB was quiesced again since (journalctl -u " + UnitName + ")", nil
	}
	if why, ok := r.await(ctx, dir); ok {
		return why, nil
	}
	unit, err := l.Units.Get(ctx, UnitName)
	switch {
	case err == nil && unit.Running():
		return "it goes on with another agent (journalctl -u " + UnitName + ")", nil
	case err == nil && !unit.Stopped():
		return "it was killed (journalctl -u " + UnitName + ")", goesOn(UnitName)
	}
	return "what systemd ran after it did not succeed (journalctl -u " + UnitName + ")",
		l.undo(ctx, dir, r)
}

// undo runs a recovery that did not succeed.
func (l *UnitLauncher) undo(ctx context.Context, dir string, r recovery) error {
	if len(r.Commands) == 0 {
		return nil
	}
	starting, cancel := context.WithTimeout(ctx, exitTime)
	defer cancel()
	err := l.Units.StartTransient(starting, undoUnit, systemd.TransientSpec{
		Description: "MariaDB is resumed after a quiesce that was killed",
		Exec:        r.Commands[0], Type: "oneshot", ExecStopPost: r.Commands[1:]})
	switch {
	case starting.Err() != nil:
		return goesOn(undoUnit)
	case err != nil && !errors.Is(err, errs.AlreadyExists): // that is the attempt before
		return fmt.Errorf("cannot resume MariaDB after it: %w", err)
	}
	if _, ok := r.await(ctx, dir); !ok {
		return goesOn(undoUnit)
	}
	// Once: whoever stops MariaDB later means it.
	if err := os.Remove(recoveryFile(dir)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
