//go:build lab

package hosttest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/quiesce"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestMain(m *testing.M) {
	os.Exit(lab.Main(m, lab.Options{Agent: true, Environ: os.Environ()}))
}

const (
	program = "/usr/bin/understudy-agent"
	nonce   = "0123456789abcdef0123456789abcdef"
	volume  = "/srv/mariadb"
)

// host is a primary as the field has it: MariaDB as a service, its datadir on a volume of its own.
type host struct {
	units   *systemd.Manager
	mariadb *mariadb.Host
	manager *quiesce.Manager
}

func newHost(t *testing.T) host {
	t.Helper()
	h, err := makeHost()
	if err != nil {
		t.Fatal(err)
	}
	h.install(t)
	return h
}

func makeHost() (host, error) {
	exec, err := hostexec.New(hostexec.Config{})
	if err != nil {
		return host{}, err
	}
	allow, err := systemd.NewAllowList([]string{"mariadb.service", "mariadb.socket",
		"mariadb-extra.socket"}, []string{"understudy-*"})
	if err != nil {
		return host{}, err
	}
	units, err := systemd.New(systemd.Config{Exec: exec, Allow: allow,
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return host{}, err
	}
	server, err := mariadb.New(mariadb.Config{Exec: exec, Timers: units, Units: units.Files,
		Program: program})
	if err != nil {
		return host{}, err
	}
	units.SetReady(mariadb.Unit, server.Server.Ready)
	manager, err := quiesce.New(quiesce.Config{Appliers: server.Server,
		Launcher: &quiesce.UnitLauncher{Units: units,
			Program: program, Mount: server.Server.DatadirMount}})
	return host{units, server, manager}, err
}

// install makes the volume and a datadir on it, as a new primary gets them.
func (h host) install(t *testing.T) {
	t.Helper()
	stop(t)
	device := lab.NewVolume(t, "data", 700).Device
	lab.Run(t, "mkfs.ext4", "-q", device)
	lab.Run(t, "mkdir", "-p", volume)
	lab.Run(t, "mount", device, volume)
	lab.Run(t, "mkdir", volume+"/mysql")
	lab.Run(t, "mount", "--bind", volume+"/mysql", "/var/lib/mysql")
	t.Cleanup(func() {
		stop(t)
		lab.Run(t, "umount", "/var/lib/mysql", volume)
	})
	if done, err := h.mariadb.Datadirs.Prepare(lab.Context(t),
		mariadb.DatadirPlan{Initialize: true}); err != nil || len(done.Changes) == 0 {
		t.Fatalf("%+v %v", done, err)
	}
	if done, err := h.mariadb.Datadirs.Prepare(lab.Context(t),
		mariadb.DatadirPlan{Initialize: true}); err != nil || len(done.Changes) > 0 {
		t.Fatalf("again: %+v %v", done, err)
	}
	settings := mariadb.Settings{ServerID: 1, Bind: "127.0.0.1", LogBin: "mariadb-bin",
		LogSlaveUpdates: true, Durable: true, BinlogExpireSeconds: 7777}
	if done, err := h.mariadb.Configuration.Set(lab.Context(t), settings); err != nil {
		t.Fatalf("%+v %v", done, err)
	}
	if _, _, err := h.units.Ensure(lab.Context(t), mariadb.Unit, func(string) {}); err != nil {
		t.Fatal(err)
	}
	sql(
		t,
		"CREATE DATABASE shop; CREATE TABLE shop.t (id BIGINT AUTO_INCREMENT PRIMARY KEY, a INT)")
	// makes the agent's own table
	if _, _, err := h.mariadb.Server.ProveWritable(lab.Context(t)); err != nil {
		t.Fatal(err)
	}
}

// stop stops MariaDB and what wakes it: a MariaDB that is told to end while it begins may hang.
func stop(t *testing.T) {
	t.Helper()
	lab.Run(t, "systemctl", "stop", "mariadb.socket", "mariadb-extra.socket", "mariadb.service")
}

func sql(t *testing.T, statements string) string {
	t.Helper()
	return lab.Run(t, "mariadb", "-N", "-e", statements)
}

// load writes one row after the other until the test ends; MariaDB may be down for a while.
func load(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_, _ = lab.Try("mariadb", "-e", "INSERT INTO shop.t (a) VALUES (1)")
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func spec(mode quiesce.Mode, limit time.Duration) quiesce.Spec {
	return quiesce.Spec{Mode: mode, Limit: limit, LockWait: time.Second, Nonce: nonce, Freeze: true}
}

func (h host) open(t *testing.T, s quiesce.Spec) *quiesce.Session {
	t.Helper()
	var session *quiesce.Session
	var err error
	// What a session left that was killed is put right meanwhile.
	lab.Eventually(t, time.Minute, "nobody has MariaDB quiesced", func() bool {
		session, err = h.manager.Start(lab.Context(t), s, func(p string) { t.Log(p) })
		return errs.ReasonOf(err) != errorsv1.Reason_REASON_QUIESCE_BUSY
	})
	if err != nil {
		out, _ := lab.Try("journalctl", "-u", quiesce.UnitName, "--no-pager", "-n", "20")
		t.Fatalf("%v\n%s", err, out)
	}
	return session
}

// soon is less than the limit of the sessions here: what is so by then was not brought about by it.
const soon = 8 * time.Second

// serves proves that the primary takes writes within that time, and that no unit of the process is
// left.
func (h host) serves(t *testing.T, within time.Duration) {
	t.Helper()
	began := time.Now()
	lab.Eventually(t, within, "the primary takes writes", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, at, err := h.mariadb.Server.ProveWritable(ctx)
		return err == nil && at != ""
	})
	t.Logf("serves after %s", time.Since(began))
	lab.Eventually(t, time.Minute, "the unit is gone", func() bool {
		_, err := h.units.Get(lab.Context(t), quiesce.UnitName)
		return errors.Is(err, errs.NotFound)
	})
}

func TestOnlineSession(t *testing.T) {
	h := newHost(t)
	load(t)
	session := h.open(t, spec(quiesce.Online, 10*time.Second))
	if _, err := h.manager.Start(lab.Context(t), spec(quiesce.Online, time.Second),
		nil); errs.ReasonOf(err) != errorsv1.Reason_REASON_QUIESCE_BUSY {
		t.Errorf("second caller: %v", err)
	}
	// Another agent, or this one after a restart, is refused by systemd.
	other, err := makeHost()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.manager.Start(lab.Context(t), spec(quiesce.Online, time.Second),
		nil); errs.ReasonOf(err) != errorsv1.Reason_REASON_QUIESCE_BUSY {
		t.Errorf("another agent: %v", err)
	}
	result, err := session.Resume(lab.Context(t))
	if err != nil || !result.Unbroken || result.Frozen <= 0 || result.Blocked <= 0 {
		t.Errorf("%+v %v", result, err)
	}
	t.Logf("%+v %+v", session.Point, result)
	if session.Point.FilesystemUUID == "" || session.Point.DatadirOnVolume != "/mysql" ||
		session.Point.Filesystem != "ext4" {
		t.Errorf("%+v", session.Point)
	}
	h.serves(t, soon)
	again := h.open(t, spec(quiesce.Online, 10*time.Second))
	again.Close()
	h.serves(t, soon)
}

// Whatever happens to the process, the primary serves again in time.
func TestMariaDBResumesWhateverHappensToTheProcess(t *testing.T) {
	h := newHost(t)
	const limit = 10 * time.Second
	for name, test := range map[string]struct {
		signal syscall.Signal
		within time.Duration
	}{"killed": {syscall.SIGKILL, soon},
		"stopped":     {syscall.SIGSTOP, limit + 20*time.Second},
		"told to end": {syscall.SIGTERM, soon}} {
		t.Run(name, func(t *testing.T) {
			load(t)
			session := h.open(t, spec(quiesce.Online, limit))
			unit, err := h.units.Get(lab.Context(t), quiesce.UnitName)
			if err != nil || unit.MainPID == 0 {
				t.Fatalf("%+v %v", unit, err)
			}
			if err := syscall.Kill(unit.MainPID, test.signal); err != nil {
				t.Fatal(err)
			}
			h.serves(t, test.within)
			if result, err := session.Resume(lab.Context(t)); err != nil || result.Unbroken {
				t.Errorf("%+v %v", result, err)
			}
		})
	}
}

// TestAFreezeThatTakesPlaceAfterItsEnd has the process end while its freeze waits for a write: it
// dies only when the filesystem is frozen. No agent is needed to thaw it then.
func TestAFreezeThatTakesPlaceAfterItsEnd(t *testing.T) {
	h := newHost(t)
	goOn := lab.SlowWrite(t, volume)
	failed := make(chan error, 1)
	go func() {
		_, err := h.manager.Start(lab.Context(t), spec(quiesce.Online, 2*time.Second),
			func(string) {})
		failed <- err
	}()
	lab.Eventually(t, time.Minute, "the process freezes", func() bool {
		unit, err := h.units.Get(lab.Context(t), quiesce.UnitName)
		return err == nil && unit.MainPID != 0
	})
	lab.AwaitStuck(t, quiesce.UnitName)
	lab.Eventually(t, time.Minute, "systemd runs what follows the process", func() bool {
		out, err := lab.Try("systemctl", "show", "--property=SubState", "--value", quiesce.UnitName)
		return err == nil && out == "stop-post"
	})
	goOn()
	if err := <-failed; err == nil {
		t.Error("it is quiesced beyond its limit")
	}
	h.serves(t, time.Minute)
	if out, err := lab.Try("fsfreeze", "-u", volume); err == nil {
		t.Errorf("the filesystem was frozen still %s", out)
	}
}

// deadAgent starts nothing again: what it leaves undone is systemd's.
type deadAgent struct{}

func (deadAgent) ResumeAppliers(context.Context, string) error {
	return errors.New("the agent is dead")
}

// Quiesce stops the applier of a replica; systemd starts it again when the process is
// killed or hangs.
func TestReplicationNeverStaysStopped(t *testing.T) {
	h := newHost(t)
	// Its primary does not answer, which is nothing to the applier.
	sql(t, "CHANGE MASTER TO master_host = '127.0.0.1', master_port = 1; START SLAVE SQL_THREAD")
	running := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		s, err := h.mariadb.Status(ctx)
		return err == nil && len(s.Live.Replication) == 1 &&
			s.Live.Replication[0].SQLRunning == "Yes"
	}
	const limit = 3 * time.Second
	if !running() {
		t.Fatal("the applier does not run")
	}
	for name, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL,
		"stopped": syscall.SIGSTOP, "told to end": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			manager, err := quiesce.New(quiesce.Config{Appliers: deadAgent{},
				Launcher: &quiesce.UnitLauncher{Units: h.units, Program: program,
					Mount: h.mariadb.Server.DatadirMount}})
			if err != nil {
				t.Fatal(err)
			}
			session := host{h.units, h.mariadb, manager}.open(t, spec(quiesce.Online, limit))
			if running() {
				t.Error("the applier runs while MariaDB is quiesced")
			}
			unit, err := h.units.Get(lab.Context(t), quiesce.UnitName)
			if err != nil || unit.MainPID == 0 {
				t.Fatalf("%+v %v", unit, err)
			}
			if err := syscall.Kill(unit.MainPID, signal); err != nil {
				t.Fatal(err)
			}
			lab.Ends(t, "the session", session.Ended())
			lab.Eventually(t, time.Minute, "replication runs again", running)
			lab.Eventually(t, time.Minute, "the next session may start",
				func() bool { return !manager.Active() })
			sql(t, "INSERT INTO shop.t (a) VALUES (3)")
		})
	}
}

func TestSessionOfADeadAgentIsCleared(t *testing.T) {
	h := newHost(t)
	h.open(t, spec(quiesce.Online, 30*time.Second))
	other, err := makeHost()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		other.manager.Clear(lab.Context(t))
		if _, err := other.manager.Unresumed(); err != nil {
			t.Fatal(err)
		}
		h.serves(t, soon)
	}
}

// The host ends a reservation by itself.
func TestReservationEndsByItself(t *testing.T) {
	h := newHost(t)
	if _, err := h.mariadb.Reservations.Reserve(lab.Context(t), "short", 2*time.Second,
		""); err != nil {
		t.Fatal(err)
	}
	if got := sql(t, "SELECT @@binlog_expire_logs_seconds"); got != "0" {
		t.Errorf("expire %s", got)
	}
	lab.Eventually(t, time.Minute, "the reservation ends",
		func() bool { return sql(t, "SELECT @@binlog_expire_logs_seconds") == "7777" })
	if all, err := h.mariadb.Reservations.InForce(); err != nil || len(all) > 0 {
		t.Errorf("%v %v", all, err)
	}
	if _, err := h.mariadb.Reservations.Reserve(lab.Context(t), "long", time.Hour, ""); err != nil {
		t.Fatal(err)
	}
	changed, err := h.mariadb.Reservations.Release(lab.Context(t), "long")
	if err != nil || !changed {
		t.Errorf("%v %v", changed, err)
	}
	if _, err := h.units.Get(lab.Context(t), "understudy-unreserve-long.timer"); !errors.Is(err,
		errs.NotFound) {
		t.Errorf("the timer is left: %v", err)
	}
}
