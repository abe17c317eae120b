//go:build lab

package hosttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/quiesce"
	"github.com/understudy-db/understudy/proto/gtid"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// ending is how an offline session comes to its end.
type ending struct {
	name string
	end  func(t *testing.T, h host, session *quiesce.Session)
}

func TestOffline(t *testing.T) {
	offline(t, ending{"released", func(t *testing.T, _ host, session *quiesce.Session) {
		if result, err := session.Resume(lab.Context(t)); err != nil || !result.Unbroken ||
			result.Down <= 0 {
			t.Errorf("%+v %v", result, err)
		}
	}}, ending{"killed", func(t *testing.T, h host, _ *quiesce.Session) { kill(t, h) }})
}

func TestLongOfflineBeyondTheLimit(t *testing.T) {
	offline(t, ending{"hangs", func(t *testing.T, h host, session *quiesce.Session) {
		unit, err := h.units.Get(lab.Context(t), quiesce.UnitName)
		if err != nil {
			t.Fatal(err)
		}
		hang(t, unit.MainPID)
		lab.Ends(t, "the session", session.Ended())
		result, err := session.Resume(lab.Context(t))
		if err != nil || !strings.Contains(result.BrokenReason, "after its limit") {
			t.Errorf("%+v %v", result, err)
		}
	}}, ending{"starts for longer", func(t *testing.T, _ host, session *quiesce.Session) {
		const slow = "/etc/systemd/system/mariadb.service.d/slow.conf"
		lab.Write(t, slow, "[Service]\nExecStartPre=/bin/sleep 35\n")
		lab.Run(t, "systemctl", "daemon-reload")
		defer lab.Run(t, "systemctl", "daemon-reload")
		defer os.Remove(slow)
		if result, err := session.Resume(lab.Context(t)); err != nil || !result.Unbroken ||
			result.Down < 35*time.Second {
			t.Errorf("%+v %v", result, err)
		}
	}})
}

// offline has each ending come to a session of a host whose MariaDB is woken by a socket: that
// sleeps meanwhile, and listens again afterwards.
func offline(t *testing.T, endings ...ending) {
	t.Helper()
	h := newHost(t)
	stop(t)
	lab.Run(t, "systemctl", "start", "mariadb.socket")
	lab.Run(t, "systemctl", "start", "mariadb.service")
	for _, test := range endings {
		t.Run(test.name, func(t *testing.T) {
			sql(t, "INSERT INTO shop.t (a) VALUES (2)")
			session := h.open(t, spec(quiesce.Offline, 20*time.Second))
			if out, err := lab.Try("mariadb", "-e", "SELECT 1"); err == nil {
				t.Errorf("MariaDB answers: %s", out)
			}
			unit, err := h.units.Get(lab.Context(t), mariadb.Unit)
			if err != nil || !unit.Stopped() {
				t.Errorf("%+v %v", unit, err)
			}
			test.end(t, h, session)
			h.serves(t, 50*time.Second)
			if unit, err := h.units.Get(lab.Context(t), "mariadb.socket"); err != nil ||
				!unit.Running() {
				t.Errorf("what wakes MariaDB does not listen again: %+v %v", unit, err)
			}
			at, err := gtid.ParsePosition(session.Point.BinlogPos)
			if err != nil || at.IsEmpty() {
				t.Fatalf("%v %v", at, err)
			}
			// One row proved that it serves.
			now, err := gtid.ParsePosition(sql(t, "SELECT @@gtid_binlog_pos"))
			if err != nil || at.Missing(now) != 1 {
				t.Errorf("quiesced at %s, now at %s: %v", at, now, err)
			}
		})
	}
}

// TestOfflineStartsNoMariaDBThatWasStoppedSince has an operator stop MariaDB at the moment of the
// release: the process has started it, and systemd is about to run what follows the process.
func TestOfflineStartsNoMariaDBThatWasStoppedSince(t *testing.T) {
	h := newHost(t)
	const slow, goOn = "/usr/local/bin/slow-agent", "/run/go-on"
	lab.Write(t, slow, "#!/bin/sh\nwhile [ \"$1\" = end-quiesce ] && ! [ -e "+goOn+" ]; do\n"+
		"\tsleep 0.1\ndone\nexec "+program+" \"$@\"\n")
	lab.Run(t, "chmod", "755", slow)
	t.Cleanup(func() { lab.Run(t, "rm", "-f", slow, goOn) })
	var err error
	h.manager, err = quiesce.New(quiesce.Config{Appliers: h.mariadb.Server,
		Launcher: &quiesce.UnitLauncher{Units: h.units, Program: slow,
			Mount: h.mariadb.Server.DatadirMount}})
	if err != nil {
		t.Fatal(err)
	}
	session := h.open(t, spec(quiesce.Offline, time.Minute))
	resumed := make(chan error, 1)
	go func() {
		_, err := session.Resume(lab.Context(t))
		resumed <- err
	}()
	lab.Eventually(t, time.Minute, "systemd runs what follows the process", func() bool {
		out, err := lab.Try("systemctl", "show", "--property=SubState", "--value", quiesce.UnitName)
		return err == nil && out == "stop-post"
	})
	stop(t)
	lab.Write(t, goOn, "")
	if err := <-resumed; err != nil {
		t.Error(err)
	}
	lab.Eventually(t, time.Minute, "the unit is gone", func() bool {
		_, err := h.units.Get(lab.Context(t), quiesce.UnitName)
		return errors.Is(err, errs.NotFound)
	})
	if unit, err := h.units.Get(lab.Context(t), mariadb.Unit); err != nil || !unit.Stopped() {
		t.Errorf("it was started again: %+v %v", unit, err)
	}
}

// TestOfflineProvesThatNothingWasWritten has MariaDB run in the middle of a session, by hand, and
// looks at its unit, and at the freeze, as before afterwards.
func TestOfflineProvesThatNothingWasWritten(t *testing.T) {
	h := newHost(t)
	const byHand = "mariadbd --user=mysql --bootstrap </dev/null"
	for name, test := range map[string]struct {
		freeze    bool
		meanwhile string
	}{
		"untouched":               {false, "cp -a /var/lib/mysql /run/copy && rm -r /run/copy"},
		"not frozen, MariaDB ran": {false, byHand},
		"not frozen, a table was written to": {false,
			"cd /var/lib/mysql/shop && dd if=t.frm of=t.frm conv=notrunc status=none"},
		"frozen, thawed, MariaDB ran, frozen": {true,
			"fsfreeze -u " + volume + " && " + byHand + " && fsfreeze -f " + volume},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(quiesce.Offline, 2*time.Minute)
			s.Freeze = test.freeze
			session := h.open(t, s)
			lab.Run(t, "sh", "-euc", test.meanwhile)
			result, err := session.Resume(lab.Context(t))
			if err != nil || result.Unbroken != (name == "untouched") || !result.Unbroken &&
				!strings.Contains(result.BrokenReason, "was written to meanwhile") {
				t.Errorf("%+v %v", result, err)
			}
			t.Log(result.BrokenReason)
			h.serves(t, 50*time.Second)
		})
	}
}

// TestOfflineReplicationRunsAgain has a replica that does not start its replication by itself, and
// one thread that an operator has stopped.
func TestOfflineReplicationRunsAgain(t *testing.T) {
	h := newHost(t)
	settings := mariadb.Settings{ServerID: 1, Bind: "127.0.0.1", LogBin: "mariadb-bin",
		LogSlaveUpdates: true, Durable: true, SkipReplicaStart: true}
	if _, err := h.mariadb.Configuration.Set(lab.Context(t), settings); err != nil {
		t.Fatal(err)
	}
	sql(t, "CHANGE MASTER '' TO master_host = '127.0.0.1', master_port = 1, master_user = 'r';"+
		"CHANGE MASTER 'other' TO master_host = '127.0.0.1', master_port = 2, master_user = 'r';"+
		"START SLAVE ''; START SLAVE 'other' SQL_THREAD")
	threads := func() map[string]string {
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		found := map[string]string{}
		if s, err := h.mariadb.Status(ctx); err == nil {
			for _, r := range s.Live.Replication {
				found[r.Connection] = strings.Replace(r.IORunning, "Connecting", "Yes", 1) +
					r.SQLRunning
			}
		}
		return found
	}
	want := map[string]string{"": "YesYes", "other": "NoYes"}
	if got := threads(); !maps.Equal(got, want) {
		t.Fatalf("%v, not %v", got, want)
	}
	for name, end := range map[string]func(*quiesce.Session){
		"killed": func(*quiesce.Session) { kill(t, h) },
		"released": func(session *quiesce.Session) {
			if result, err := session.Resume(lab.Context(t)); err != nil || !result.Unbroken {
				t.Errorf("%+v %v", result, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			session := h.open(t, spec(quiesce.Offline, time.Minute))
			end(session)
			lab.Eventually(t, time.Minute, "replication runs as before", func() bool {
				return maps.Equal(threads(), want) && !h.manager.Active()
			})
		})
	}
}

func kill(t *testing.T, h host) {
	t.Helper()
	unit, err := h.units.Get(lab.Context(t), quiesce.UnitName)
	if err == nil {
		err = syscall.Kill(unit.MainPID, syscall.SIGKILL)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// hang stops a process for all but SIGKILL, as if it were deadlocked. SIGSTOP would not do: systemd
// sends SIGCONT with SIGTERM.
func hang(t *testing.T, pid int) {
	t.Helper()
	stopped := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: it is this thread that traces
		stopped <- traceAll(pid)
		for !errors.Is(awaitTraced(-1), unix.ECHILD) { // until it is dead
		}
	}()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

// traceAll stops every thread of the process, those that others begin meanwhile included.
func traceAll(pid int) error {
	traced := map[int]bool{}
	for before := -1; before < len(traced); {
		before = len(traced)
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil {
			return err
		}
		for _, task := range tasks {
			tid, err := strconv.Atoi(filepath.Base(task))
			if err != nil || traced[tid] {
				continue
			}
			if err := errors.Join(unix.PtraceSeize(tid), unix.PtraceInterrupt(tid),
				awaitTraced(tid)); err != nil {
				return fmt.Errorf("cannot stop thread %d: %w", tid, err)
			}
			traced[tid] = true
		}
	}
	return nil
}

// awaitTraced waits for a change of what this thread traces.
func awaitTraced(tid int) error {
	for {
		_, err := unix.Wait4(tid, nil, unix.WALL|unix.WNOTHREAD, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
