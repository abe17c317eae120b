//go:build lab

package quiesce_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/freeze"
	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/quiesce"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// The test program is the process as well: what `understudy-agent quiesce` does.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "quiesce" {
		os.Exit(quiesceMain(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

func quiesceMain(socket, mariadbSocket string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	runner, err := hostexec.New(hostexec.Config{})
	if err != nil {
		return 2
	}
	server, err := mariadb.New(mariadb.Config{Exec: runner, Socket: mariadbSocket})
	if err != nil {
		return 2
	}
	if err := quiesce.Run(ctx, quiesce.ProcessConfig{Socket: socket,
		MariaDB: server.Server}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// launcher runs the process without systemd, but for the limits that systemd enforces.
type launcher struct {
	mariadb string
	mu      sync.Mutex
	cmd     *exec.Cmd
}

func (l *launcher) Launch(_ context.Context, _ quiesce.Spec, socket string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	cmd := exec.Command(os.Args[0], "quiesce", socket, l.mariadb)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	l.cmd = cmd
	go func() { _ = cmd.Wait() }()
	return nil
}

func (l *launcher) Clear(context.Context, string) error { return nil }

func (l *launcher) Stop(context.Context) error { return nil }

func (l *launcher) Exit(context.Context, string, string) (string, error) { return "it ended", nil }

func (l *launcher) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func manager(t *testing.T, primary *mariadbtest.Instance) (*quiesce.Manager, *launcher) {
	t.Helper()
	l := &launcher{mariadb: primary.Socket}
	m, err := quiesce.New(quiesce.Config{Launcher: l, Appliers: primary.Server, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return m, l
}

// volume is a filesystem of its own that can be frozen.
func volume(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	image, mount := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	for _, c := range [][]string{{"truncate", "-s", "600M", image}, {"mkfs.ext4", "-q", image},
		{"mkdir", mount}, {"mount", "-o", "loop", image, mount}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v %s", c, err, out)
		}
	}
	t.Cleanup(func() {
		_, _ = freeze.Thaw(mount)
		if out, err := exec.Command("umount", mount).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return mount
}

const nonce = "0123456789abcdef0123456789abcdef"

func spec(mode quiesce.Mode, freeze bool) quiesce.Spec {
	return quiesce.Spec{Mode: mode, Limit: 10 * time.Second, LockWait: time.Second, Nonce: nonce,
		Freeze: freeze}
}

func roots(t *testing.T) []string {
	t.Helper()
	return mariadbtest.Roots(t, os.Getenv(mariadbtest.RootsEnv))
}

func eachVersion(t *testing.T, test func(t *testing.T, root string)) {
	for _, root := range roots(t) {
		t.Run(mariadbtest.Name(root), func(t *testing.T) { test(t, root) })
	}
}

// soon is less than the limit of spec: what is so by then was not brought about by the limit.
const soon = 8 * time.Second

// writable proves that the primary serves writes now.
func writable(t *testing.T, primary *mariadbtest.Instance) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	latency, gtid, err := primary.Server.ProveWritable(ctx)
	if err != nil || gtid == "" {
		t.Fatalf("not writable within %s: %v", soon, err)
	}
	t.Logf("writable after %s at %s", latency, gtid)
}

func TestOnlineSessionUnderLoad(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root, Volume: volume(t)})
		load := mariadbtest.Load(t, primary)
		m, _ := manager(t, primary)
		h, err := m.Start(t.Context(), spec(quiesce.Online, true), func(p string) { t.Log(p) })
		if err != nil {
			t.Fatal(err)
		}
		if !m.Active() {
			t.Error("not active")
		}
		if _, err := m.Start(t.Context(), spec(quiesce.Online, true),
			nil); errs.ReasonOf(err) != errorsv1.Reason_REASON_QUIESCE_BUSY {
			t.Errorf("second caller: %v", err)
		}
		commits := load.Commits.Load()
		copied := t.TempDir()
		if out, err := exec.Command("cp", "-a", primary.Volume+"/.",
			copied).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		if after := load.Commits.Load(); after > commits {
			t.Errorf("%d commits meanwhile", after-commits)
		}
		result, err := h.Resume(t.Context())
		if err != nil || !result.Unbroken || result.Blocked <= 0 || result.Frozen <= 0 {
			t.Fatalf("%+v %v", result, err)
		}
		h.Close()
		writable(t, primary)
		if text, err := os.ReadFile(filepath.Join(copied, ".understudy/nonce")); err != nil ||
			strings.TrimSpace(string(text)) != nonce {
			t.Errorf("%q %v", text, err)
		}
		load.Stop()
		t.Logf("%+v; %d commits, %d errors, slowest %s", result, load.Commits.Load(),
			load.Errors.Load(), time.Duration(load.Slowest.Load()))
		boots(t, root, copied, h.Point.BinlogPos)
	})
}

// boots proves that a copy recovers exactly that position.
func boots(t *testing.T, root, volume, position string) {
	t.Helper()
	replica := mariadbtest.New(t, mariadbtest.Options{Root: root, ServerID: 2, Volume: volume})
	if _, err := replica.Datadirs.Prepare(t.Context(),
		mariadb.DatadirPlan{Copy: true, Nonce: ""}); err != nil {
		t.Fatal(err)
	}
	replica.Run()
	if got := replica.Value("SELECT @@gtid_binlog_pos"); got != position {
		t.Errorf("recovered %s, not %s", got, position)
	}
}

func TestSessionEndsByItself(t *testing.T) {
	root := roots(t)[0]
	for name, end := range map[string]func(t *testing.T, l *launcher, h *quiesce.Session){
		"limit": func(t *testing.T, _ *launcher, h *quiesce.Session) { <-h.Ended() },
		"agent": func(t *testing.T, _ *launcher, h *quiesce.Session) { h.Close() },
		"term": func(t *testing.T, l *launcher, _ *quiesce.Session) {
			l.signal(t,
				syscall.SIGTERM)
		},
	} {
		t.Run(name, func(t *testing.T) {
			primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root, Volume: volume(t)})
			load := mariadbtest.Load(t, primary)
			m, l := manager(t, primary)
			s := spec(quiesce.Online, true)
			s.Limit = 2 * time.Second
			h, err := m.Start(t.Context(), s, nil)
			if err != nil {
				t.Fatal(err)
			}
			end(t, l, h)
			<-h.Ended()
			result, err := h.Resume(t.Context())
			if err != nil || result.Unbroken || result.BrokenReason == "" {
				t.Errorf("%+v %v", result, err)
			}
			writable(t, primary)
			t.Logf("%+v; slowest %s", result, time.Duration(load.Slowest.Load()))
		})
	}
}

func TestKilledProcessReleasesTheLock(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root, Volume: volume(t)})
		m, l := manager(t, primary)
		h, err := m.Start(t.Context(), spec(quiesce.Online, true), nil)
		if err != nil {
			t.Fatal(err)
		}
		l.signal(t, syscall.SIGKILL)
		<-h.Ended()
		// What systemd's ExecStopPost does.
		if thawed, err := freeze.Thaw(primary.Volume); err != nil || !thawed {
			t.Errorf("thaw: %v %v", thawed, err)
		}
		result, err := h.Resume(t.Context())
		if err != nil || result.Unbroken {
			t.Errorf("%+v %v", result, err)
		}
		writable(t, primary)
	})
}

func TestBrokenPointIsNoticed(t *testing.T) {
	root := roots(t)[0]
	for name, breakIt := range map[string]func(t *testing.T, primary *mariadbtest.Instance){
		"thawed": func(t *testing.T, primary *mariadbtest.Instance) {
			if _, err := freeze.Thaw(primary.Volume); err != nil {
				t.Fatal(err)
			}
		},
		"session killed": func(t *testing.T, primary *mariadbtest.Instance) {
			primary.Exec("KILL " + primary.Value("SELECT id FROM information_schema.processlist "+
				"WHERE user = 'root' AND id <> CONNECTION_ID() AND command = 'Sleep' ORDER BY id "+
				"DESC LIMIT 1"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root, Volume: volume(t)})
			m, _ := manager(t, primary)
			h, err := m.Start(t.Context(), spec(quiesce.Online, true), nil)
			if err != nil {
				t.Fatal(err)
			}
			breakIt(t, primary)
			result, err := h.Resume(t.Context())
			if err != nil || result.Unbroken || result.BrokenReason == "" {
				t.Errorf("%+v %v", result, err)
			}
			t.Log(result.BrokenReason)
			writable(t, primary)
		})
	}
}

// S4: what blocks BACKUP STAGE makes Quiesce give up in time, and no writer stays blocked.
func TestQuiesceGivesUp(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		m, _ := manager(t, primary)
		blocker, err := primary.DB.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer blocker.Close()
		for _, statement := range []string{"LOCK TABLES shop.m WRITE",
			"UNLOCK TABLES; BACKUP STAGE START"} {
			if _, err := blocker.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, err := m.Start(t.Context(), spec(quiesce.Online, false), nil)
			if errs.ReasonOf(err) != errorsv1.Reason_REASON_QUIESCE_NOT_ACQUIRED ||
				!errors.Is(err, errs.FailedPrecondition) {
				t.Errorf("behind %s: %v", statement, err)
			}
			if took := time.Since(began); took > soon {
				t.Errorf("behind %s: gave up after %s", statement, took)
			}
			writable(t, primary)
		}
		if _, err := blocker.ExecContext(t.Context(), "BACKUP STAGE END"); err != nil {
			t.Fatal(err)
		}
		// A long transaction blocks nothing.
		if _, err := blocker.ExecContext(t.Context(),
			"BEGIN; UPDATE shop.t SET a = 1"); err != nil {
			t.Fatal(err)
		}
		h, err := m.Start(t.Context(), spec(quiesce.Online, false), nil)
		if err != nil {
			t.Fatal(err)
		}
		if result, err := h.Resume(t.Context()); err != nil || !result.Unbroken {
			t.Errorf("%+v %v", result, err)
		}
	})
}

func TestCrashMode(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root, Volume: volume(t)})
		m, _ := manager(t, primary)
		if _, err := m.Start(t.Context(), spec(quiesce.Crash, true),
			nil); errs.ReasonOf(err) != errorsv1.Reason_REASON_TABLES_NOT_TRANSACTIONAL {
			t.Errorf("with MyISAM: %v", err)
		}
		primary.Exec("ALTER TABLE shop.m ENGINE=InnoDB")
		load := mariadbtest.Load(t, primary)
		h, err := m.Start(t.Context(), spec(quiesce.Crash, true), nil)
		if err != nil {
			t.Fatal(err)
		}
		copied := t.TempDir()
		if out, err := exec.Command("cp", "-a", primary.Volume+"/.",
			copied).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		result, err := h.Resume(t.Context())
		if err != nil || !result.Unbroken {
			t.Fatalf("%+v %v", result, err)
		}
		load.Stop()
		writable(t, primary)
		replica := mariadbtest.New(t, mariadbtest.Options{Root: root, ServerID: 2, Volume: copied})
		replica.Run()
		got := mariadbtest.Position(t, replica.Value("SELECT @@gtid_binlog_pos"))
		if err := got.Between(mariadbtest.Position(t, h.Point.BinlogPos),
			mariadbtest.Position(t, result.After.Binlog)); err != nil {
			t.Error(err)
		}
		primary.Exec("SET GLOBAL sync_binlog = 0")
		if _, err := m.Start(t.Context(), spec(quiesce.Crash, true),
			nil); errs.ReasonOf(err) != errorsv1.Reason_REASON_MARIADB_SETTING {
			t.Errorf("without sync_binlog: %v", err)
		}
	})
}

func TestFilesystemsThatAreNotFrozen(t *testing.T) {
	for name, volume := range map[string]string{"the host's root": t.TempDir(), "tmpfs": ""} {
		t.Run(name, func(t *testing.T) {
			primary := mariadbtest.Primary(t,
				mariadbtest.Options{Root: roots(t)[0], Volume: volume})
			m, _ := manager(t, primary)
			_, err := m.Start(t.Context(), spec(quiesce.Online, true), nil)
			if !errors.Is(err, errs.FailedPrecondition) || errs.HintOf(err).String() == "" {
				t.Errorf("%v", err)
			}
			writable(t, primary)
		})
	}
}
