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

// recovery is what systemd runs after the process. It is kept for a unit that is killed with all
// that is in it: that kills what runs after the process as well, and nothing else would thaw the
// filesystem.
type recovery struct {
	Run      string     `json:"run"`   // names the process: the last command writes it
	Nonce    string     `json:"nonce"` // of its point; empty from an agent of an earlier version
	Commands [][]string `json:"commands"`
}

func recoveryFile(dir string) string { return filepath.Join(dir, "quiesce.recovery") }

// exitFile has how systemd saw a process end: its run, the result of the unit, and the code and
// status of the exit.
func exitFile(dir string) string { return filepath.Join(dir, "quiesce.exit") }

func newRecovery(dir, nonce string, commands [][]string) recovery {
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	return recovery{run, nonce, append(commands, []string{"/bin/sh", "-c",
		`echo "$1 $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS" >"$0"`, exitFile(dir), run})}
}

func readRecovery(dir string) (r recovery, found bool) {
	found, err := atomicfile.ReadJSON(recoveryFile(dir), &r)
	return r, found && err == nil
}

// exited says how the process ended; false while its last command has not run.
func (r recovery) exited(dir string) (string, bool) {
	saw, err := os.ReadFile(exitFile(dir))
	words := strings.Fields(string(saw))
	if err != nil || len(words) == 0 || words[0] != r.Run {
		return "", false
	}
	return exitWords(words[1:]), true
}

const (
	// exitTime bounds the wait for systemd, which thaws the filesystem before it writes the file.
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

// undoUnit runs the recovery of a unit that was killed with all that was in it.
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
	if unit, err := l.Units.Get(ctx, UnitName); err == nil && unit.Running() {
		return "it goes on with another agent (journalctl -u " + UnitName + ")", nil
	}
	return "it was killed with all of its unit (journalctl -u " + UnitName + ")",
		l.undo(ctx, dir, r)
}

// undo runs a recovery that systemd did not complete.
func (l *UnitLauncher) undo(ctx context.Context, dir string, r recovery) error {
	if len(r.Commands) == 0 {
		return nil
	}
	err := l.Units.StartTransient(ctx, undoUnit, systemd.TransientSpec{
		Description: "MariaDB is resumed after a quiesce that was killed",
		Exec:        []string{"/bin/true"}, Type: "oneshot", ExecStopPost: r.Commands})
	// One that runs is that of the attempt before.
	if err != nil && !errors.Is(err, errs.AlreadyExists) {
		return fmt.Errorf("cannot resume MariaDB after it: %w", err)
	}
	if _, ok := r.await(ctx, dir); !ok {
		return errUndoGoesOn
	}
	return os.Remove(recoveryFile(dir)) // once: whoever stops MariaDB later means it
}
