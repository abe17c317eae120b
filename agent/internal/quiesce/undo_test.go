package quiesce

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/atomicfile"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// bus is a systemd that may be away. What it is asked to run, it runs.
type bus struct {
	away atomic.Bool
	runs atomic.Int32
	lame atomic.Bool // commands do not run to their end

	asked, stops atomic.Int32 // to stop a unit, and what was stopped
}

var errAway = errors.New("cannot reach systemd over D-Bus")

func (b *bus) Get(context.Context, string) (systemd.Unit, error) {
	if b.away.Load() {
		return systemd.Unit{}, errAway
	}
	return systemd.Unit{Active: "inactive"}, nil
}

func (b *bus) StartTransient(_ context.Context, _ string, spec systemd.TransientSpec) error {
	if b.away.Load() {
		return errAway
	}
	b.runs.Add(1)
	if b.lame.Load() {
		return nil
	}
	err := exec.Command(spec.Exec[0], spec.Exec[1:]...).Run()
	for _, command := range spec.ExecStopPost {
		_ = exec.Command(command[0], command[1:]...).Run()
	}
	return err
}

func (b *bus) StopTransient(context.Context, string) error {
	b.asked.Add(1)
	if b.away.Load() {
		return errAway
	}
	b.stops.Add(1)
	return nil
}

// unfinished is a host on which a process was killed with what systemd would run after it: dir has
// its recovery, which makes a file.
func unfinished(t *testing.T) (m *Manager, systemd *bus, made string) {
	t.Helper()
	dir := t.TempDir()
	made = filepath.Join(dir, "thawed")
	r := recovery{Run: "run", Nonce: theNonce, Commands: [][]string{{"/bin/sh", "-euc",
		`touch "$1"; test ! -e "$1.fails"; echo run >"$0"`, exitFile(dir), made}}}
	if err := atomicfile.WriteJSON(recoveryFile(dir), r); err != nil {
		t.Fatal(err)
	}
	systemd = &bus{}
	m, err := New(Config{Launcher: &UnitLauncher{Units: systemd}, Appliers: noAppliers{}, Dir: dir,
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return m, systemd, made
}

// TestWhatAKilledProcessHeldIsGivenBackOnceSystemdAnswers has a process and its unit killed
// together, by which this agent or the next one finds MariaDB held, while D-Bus is away for hours.
func TestWhatAKilledProcessHeldIsGivenBackOnceSystemdAnswers(t *testing.T) {
	t.Parallel()
	for name, find := range map[string]func(*testing.T, *Manager){
		"the next agent": func(t *testing.T, m *Manager) { m.Find(); m.Clear(t.Context()) },
		"this agent":     loses,
		"a job that comes late": func(t *testing.T, m *Manager) {
			if err := writeRecord(m.config.Dir, record{Spec: offlineSpec()}); err != nil {
				t.Fatal(err)
			}
			_, err := m.Adopt(t.Context(), theJob, theNonce)
			refused(t, err, errorsv1.Reason_REASON_QUIESCE_BROKEN, errAway.Error())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, systemd, made := unfinished(t)
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				systemd.away.Store(true)
				find(t, m)
				time.Sleep(3 * time.Hour)
				synctest.Wait()
				since, why := m.Unresumed()
				if !errors.Is(why, errAway) || since.Sub(began) > undoTime || !m.Active() {
					t.Errorf("since %s: %v", since.Sub(began), why)
				}
				_, err := m.Start(t.Context(), offlineSpec(), nil)
				refused(t, err, errorsv1.Reason_REASON_QUIESCE_BUSY, "has not resumed")
				systemd.away.Store(false)
				time.Sleep(undoTime)
				synctest.Wait()
				if _, why := m.Unresumed(); why != nil || m.Active() {
					t.Errorf("it is not over: %v", why)
				}
				if _, err := os.Stat(made); err != nil || systemd.runs.Load() != 1 {
					t.Errorf("undone %d times: %v", systemd.runs.Load(), err)
				}
				if _, found := readRecovery(m.config.Dir); found {
					t.Error("it would be undone again")
				}
			})
		})
	}
}

// loses is an agent whose process is gone in the middle of a session.
func loses(t *testing.T, m *Manager) {
	t.Helper()
	h, process := holds(t, m)
	process.Close()
	h.listen(t.Context())
	if result, err := h.await(t.Context()); err != nil ||
		!strings.Contains(result.BrokenReason, errAway.Error()) {
		t.Errorf("%+v %v", result, err)
	}
}

// holds is an agent in the middle of a session, with its process's end of the connection.
func holds(t *testing.T, m *Manager) (*hold, *net.UnixConn) {
	t.Helper()
	pair, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(m.config.Dir, "s"),
		Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer pair.Close()
	conn, err := net.DialUnix("unix", nil, pair.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	process, err := pair.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	m.active.Store(true)
	return m.newHold(offlineSpec(), newConnection(conn)), process
}

// TestAProcessThatDoesNotResumeIsEnded has a process hang that is asked to resume long before its
// limit, while systemd cannot be reached for a while.
func TestAProcessThatDoesNotResumeIsEnded(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(*hold){
		"with a proof": func(h *hold) { h.request(message{Resume: true}) },
		"without one":  func(h *hold) { h.giveUp("its job ended it") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, systemd, _ := unfinished(t)
			synctest.Test(t, func(t *testing.T) {
				h, process := holds(t, m)
				defer process.Close()
				defer h.conn.conn.Close()
				systemd.away.Store(true)
				ask(h)
				time.Sleep(h.spec.answerTime() - 1)
				if systemd.asked.Load() > 0 {
					t.Error("it has no time to answer")
				}
				time.Sleep(undoTime)
				if systemd.stops.Load() > 0 || systemd.asked.Load() == 0 {
					t.Errorf("stopped %d times, asked %d times", systemd.stops.Load(),
						systemd.asked.Load())
				}
				systemd.away.Store(false)
				time.Sleep(undoTime)
				if systemd.stops.Load() != 1 {
					t.Errorf("stopped %d times", systemd.stops.Load())
				}
			})
		})
	}
}

// Commands that hang are run again, until they have ended.
func TestAnUndoThatDoesNotEndIsTriedAgain(t *testing.T) {
	t.Parallel()
	m, systemd, made := unfinished(t)
	synctest.Test(t, func(t *testing.T) {
		systemd.lame.Store(true)
		m.Clear(t.Context())
		if _, why := m.Unresumed(); !errors.Is(why, errUndoGoesOn) || !m.Active() {
			t.Errorf("%v", why)
		}
		systemd.lame.Store(false)
		time.Sleep(undoTime)
		synctest.Wait()
		if _, err := os.Stat(made); err != nil || m.Active() || systemd.runs.Load() < 2 {
			t.Errorf("undone %d times: %v", systemd.runs.Load(), err)
		}
	})
}

// A job that comes late for the quiesce before does not end the undo of the last one.
func TestAnotherJobDoesNotEndTheUndo(t *testing.T) {
	t.Parallel()
	m, systemd, made := unfinished(t)
	late := offlineSpec()
	late.Job, late.Nonce = "jobs/2", other
	if err := writeRecord(m.config.Dir, record{Spec: late}); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		systemd.away.Store(true)
		loses(t, m)
		_, err := m.Adopt(t.Context(), late.Job, late.Nonce)
		refused(t, err, errorsv1.Reason_REASON_QUIESCE_BROKEN, errAway.Error())
		if _, why := m.Unresumed(); !errors.Is(why, errAway) || !m.Active() {
			t.Errorf("the undo is over: %v", why)
		}
		systemd.away.Store(false)
		time.Sleep(undoTime)
		synctest.Wait()
		if _, err := os.Stat(made); err != nil || m.Active() {
			t.Errorf("active: %t; %v", m.Active(), err)
		}
	})
}

// An undo that fails is no end: it is tried again until it has succeeded.
func TestAnUndoThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	m, systemd, made := unfinished(t)
	if err := os.WriteFile(made+".fails", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		m.Clear(t.Context())
		if _, why := m.Unresumed(); why == nil || !m.Active() {
			t.Errorf("it is over: %v", why)
		}
		if err := os.Remove(made + ".fails"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(undoTime)
		synctest.Wait()
		if _, why := m.Unresumed(); why != nil || m.Active() || systemd.runs.Load() < 2 {
			t.Errorf("undone %d times: %v", systemd.runs.Load(), why)
		}
	})
}

// What an agent of an earlier version left is undone by its own commands, of which the last counts.
func TestTheRecoveryOfAnEarlierVersionIsUndone(t *testing.T) {
	t.Parallel()
	m, _, made := unfinished(t)
	old := recovery{Run: "run", Commands: [][]string{{"/bin/false"}, {"/usr/bin/touch", made},
		{"/bin/sh", "-c", `echo "run" >"$0"`, exitFile(m.config.Dir)}}}
	if err := atomicfile.WriteJSON(recoveryFile(m.config.Dir), old); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		m.Clear(t.Context())
		time.Sleep(undoTime)
		synctest.Wait()
		if _, err := os.Stat(made); err != nil || m.Active() {
			t.Errorf("active: %t; %v", m.Active(), err)
		}
	})
}
