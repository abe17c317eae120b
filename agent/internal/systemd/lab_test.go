//go:build lab

package systemd_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m, lab.Options{Environ: os.Environ()})) }

func manager(t *testing.T) *systemd.Manager {
	t.Helper()
	return managerThatLogs(t, slog.DiscardHandler)
}

func managerThatLogs(t *testing.T, to slog.Handler) *systemd.Manager {
	t.Helper()
	exec, err := hostexec.New(hostexec.Config{})
	if err != nil {
		t.Fatal(err)
	}
	allow, err := systemd.NewAllowList([]string{"t-*.service", "t-*.socket", "mariadb.service"},
		[]string{"understudy-*"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := systemd.New(systemd.Config{Exec: exec, Allow: allow,
		Log: slog.New(to)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// unit writes a service of its own for the test and takes it away afterwards.
func unit(t *testing.T, name, service string) string {
	t.Helper()
	name = "t-" + name + ".service"
	path := filepath.Join("/usr/lib/systemd/system", name)
	lab.Write(t, path, "[Unit]\nDescription=test\n[Service]\n"+service+
		"\n[Install]\nWantedBy=multi-user.target\n")
	lab.Run(t, "systemctl", "daemon-reload")
	t.Cleanup(func() {
		lab.Try("systemctl", "stop", name)
		lab.Try("systemctl", "unmask", name)
		lab.Try("systemctl", "unmask", "--runtime", name)
		lab.Try("systemctl", "disable", name)
		lab.Try("systemctl", "reset-failed", name)
		os.Remove(path)
		os.RemoveAll("/etc/systemd/system/" + name + ".d")
		lab.Try("systemctl", "daemon-reload")
	})
	return name
}

const sleeps = "ExecStart=/bin/sleep infinity"

func want(t *testing.T, err error, kind errs.Kind, reason errorsv1.Reason) {
	t.Helper()
	if !errors.Is(err, kind) || errs.ReasonOf(err) != reason {
		t.Fatalf("error = %v (%v), want %v with %v", err, errs.ReasonOf(err), kind, reason)
	}
	if errs.HintOf(err).String() == "" {
		t.Errorf("no hint in: %v", err)
	}
}

func TestEnsureFromAnyState(t *testing.T) {
	m := manager(t)
	tests := map[string]struct {
		plant   []string
		changes []string
	}{
		"stopped and disabled": {nil, []string{"enabled", "started"}},
		"masked":               {[]string{"mask"}, []string{"unmasked", "enabled", "started"}},
		"masked until reboot": {[]string{"mask --runtime"},
			[]string{"unmasked", "enabled", "started"}},
		"masked twice": {[]string{"mask", "mask --runtime"},
			[]string{"unmasked", "enabled", "started"}},
		"enabled":              {[]string{"enable"}, []string{"started"}},
		"running, disabled":    {[]string{"start"}, []string{"enabled"}},
		"all well":             {[]string{"enable", "start"}, nil},
		"running under a mask": {[]string{"enable", "start", "mask"}, []string{"unmasked"}},
		"failed": {[]string{"enable", "start", "kill -s KILL"},
			[]string{"cleared the failed state (signal)", "started"}},
		"stopping and starting it": {[]string{"enable", "--no-block start", "--no-block stop"},
			[]string{"started"}},
	}
	i := 0
	for name, test := range tests {
		i++
		t.Run(name, func(t *testing.T) {
			name := unit(t, "any"+string(rune('a'+i)), sleeps)
			for _, verb := range test.plant {
				lab.Run(t, append(append([]string{"systemctl"}, strings.Fields(verb)...),
					name)...)
				if strings.HasPrefix(verb, "kill") {
					lab.Eventually(t, time.Minute, "it fails",
						func() bool {
							u, err := m.Get(t.Context(), name)
							return err == nil &&
								u.Active == "failed"
						})
				}
			}
			u, changes, err := m.Ensure(t.Context(), name, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !u.Running() || u.FileState != "enabled" || u.MainPID == 0 ||
				len(u.InvocationID) != 32 {
				t.Errorf("unit = %+v", u)
			}
			if got := strings.Join(changes, ", "); got != strings.Join(test.changes, ", ") {
				t.Errorf("changes = %s, want %v", got, test.changes)
			}
			again, changes, err := m.Ensure(t.Context(), name, nil)
			if err != nil || changes != nil || again.InvocationID != u.InvocationID {
				t.Errorf("again: %v, %v", changes, err)
			}
		})
	}
}

func TestEnsureBeyondTheStartLimit(t *testing.T) {
	m := manager(t)
	name := unit(t, "limit", "Type=notify\nNotifyAccess=all\nExecStart=/bin/sh -c 'test -e "+
		"/run/t-good && systemd-notify --ready && exec sleep "+
		"infinity'\nRestart=on-failure\nRestartSec=10ms")
	lab.Try("systemctl", "start", name)
	lab.Eventually(t, time.Minute, "it hits its start limit", func() bool {
		u, err := m.Get(t.Context(), name)
		return err == nil && u.Result == "start-limit-hit" || u.Active == "failed"
	})
	_, _, err := m.Ensure(t.Context(), name, nil)
	if err == nil {
		t.Fatal("a unit that cannot run is up")
	}
	want(t, err, errs.Internal, errorsv1.Reason_REASON_UNIT_FAILED)
	lab.Write(t, "/run/t-good", "")
	t.Cleanup(func() { os.Remove("/run/t-good") })
	u, _, err := m.Ensure(t.Context(), name, nil)
	if err != nil || !u.Running() {
		t.Fatalf("%+v, %v", u, err)
	}
}

func TestAFailureShowsTheJournal(t *testing.T) {
	m := manager(t)
	name := unit(t, "broken",
		"Type=oneshot\nExecStart=/bin/sh -c 'echo the disk is on fire; exit 7'")
	_, _, err := m.Ensure(t.Context(), name, nil)
	want(t, err, errs.Internal, errorsv1.Reason_REASON_UNIT_FAILED)
	if !strings.Contains(err.Error(), "the disk is on fire") ||
		errs.MetaOf(err)["exit_status"] != "7" {
		t.Errorf("error = %v, %v", err, errs.MetaOf(err))
	}
}

func TestADependencyThatFails(t *testing.T) {
	m := manager(t)
	broken := unit(t, "dependency", "Type=oneshot\nExecStart=/bin/false")
	name := unit(t, "dependent", sleeps)
	lab.Write(t, "/etc/systemd/system/"+name+".d/x.conf", "[Unit]\nRequires="+broken+"\nAfter="+
		broken+"\n")
	// the drop-in was not read by systemd yet: that is seen as well
	_, _, err := m.Ensure(t.Context(), name, nil)
	want(t, err, errs.Internal, errorsv1.Reason_REASON_UNIT_FAILED)
	if !strings.Contains(err.Error(), broken+" is failed") {
		t.Errorf("error = %v", err)
	}
}

func TestReadiness(t *testing.T) {
	m := manager(t)
	name := unit(t, "ready", sleeps)
	asked := 0
	m.SetReady(name, func(context.Context, string) (string, error) {
		if asked++; asked < 3 {
			return "crash recovery, 10 %", errors.New("no answer")
		}
		return "", nil
	})
	var said []string
	if _, _, err := m.Ensure(t.Context(), name,
		func(text string) { said = append(said, text) }); err != nil || asked != 3 {
		t.Fatalf("asked %d times, %v", asked, err)
	}
	if !strings.Contains(strings.Join(said, "\n"), "crash recovery, 10 %") {
		t.Errorf("said %q", said)
	}
}

func TestNeverReady(t *testing.T) {
	m := manager(t)
	name := unit(t, "never", "ExecStart=/bin/sh -c 'echo recovering; exec sleep infinity'")
	m.SetReady(name, func(context.Context, string) (string, error) {
		return "",
			errors.New("no answer")
	})
	// A busy systemd has to read the unit first.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, _, err := m.Ensure(ctx, name, nil)
	want(t, err, errs.DeadlineExceeded, errorsv1.Reason_REASON_MARIADB_NOT_READY)
	if !strings.Contains(err.Error(), "recovering") {
		t.Errorf("error = %v", err)
	}
}

func TestReadyUnitThatDies(t *testing.T) {
	m := manager(t)
	name := unit(t, "dies", "ExecStart=/bin/sh -c 'sleep 0.3; echo out of memory; exit 3'")
	m.SetReady(name, func(context.Context, string) (string, error) {
		return "",
			errors.New("no answer")
	})
	_, _, err := m.Ensure(t.Context(), name, nil)
	want(t, err, errs.Internal, errorsv1.Reason_REASON_UNIT_FAILED)
	if !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("error = %v", err)
	}
}

func TestStartAndStopAreConvergent(t *testing.T) {
	m := manager(t)
	name := unit(t, "conv", sleeps)
	for i, expected := range []bool{true, false} {
		if _, changed, err := m.Start(t.Context(), name); err != nil || changed != expected {
			t.Fatalf("start %d: %v, %v", i, changed, err)
		}
	}
	for i, expected := range []bool{true, false} {
		if u, changed, err := m.Stop(t.Context(), name); err != nil || changed != expected ||
			!u.Stopped() {
			t.Fatalf("stop %d: %v, %v", i, changed, err)
		}
	}
}

func TestRestartHappensOnce(t *testing.T) {
	m := manager(t)
	name := unit(t, "restart", sleeps)
	first, _, err := m.Start(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	second, changed, err := m.Restart(t.Context(), name, first.InvocationID)
	if err != nil || !changed || second.InvocationID == first.InvocationID {
		t.Fatalf("%v, %v", changed, err)
	}
	third, changed, err := m.Restart(t.Context(), name, first.InvocationID)
	if err != nil || changed || third.InvocationID != second.InvocationID {
		t.Fatalf("a lost answer restarts twice: %v, %v", changed, err)
	}
}

func TestStoppingWhatASocketStarts(t *testing.T) {
	m := manager(t)
	name := unit(t, "socketed", sleeps)
	socket := strings.Replace(name, ".service", ".socket", 1)
	path := "/etc/systemd/system/" + socket
	lab.Write(t, path, "[Socket]\nListenStream=/run/t-socketed\n")
	lab.Run(t, "systemctl", "daemon-reload")
	t.Cleanup(func() { lab.Try("systemctl", "stop", socket); os.Remove(path) })
	lab.Run(t, "systemctl", "start", socket, name)
	if _, _, err := m.Stop(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if u, err := m.Get(t.Context(), socket); err != nil || !u.Stopped() {
		t.Fatalf("the socket is %s: a connection would wake the service; %v", u.Active, err)
	}
}

// TestStoppingWhatBegins stops a unit that does not hear of it before it is up, as MariaDB
// sometimes. Nothing asks for its start meanwhile: it would be started if it fails just then.
func TestStoppingWhatBegins(t *testing.T) {
	var log bytes.Buffer
	m := managerThatLogs(t, slog.NewTextHandler(&log, nil))
	begins := "/run/t-begins"
	name := unit(t, "begins", "Type=notify\nNotifyAccess=all\nTimeoutStopSec=10\n"+
		"ExecStart=bash -c 'trap \"\" TERM; touch "+begins+"; sleep 2; trap \"exit 0\" TERM; "+
		"systemd-notify --ready; while :; do sleep 0.1; done'")
	t.Cleanup(func() { os.Remove(begins) })
	lab.Run(t, "systemctl", "start", "--no-block", name)
	lab.Eventually(t, time.Minute, "the unit begins", func() bool {
		_, err := os.Stat(begins)
		return err == nil
	})
	if _, _, err := m.Stop(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if u, err := m.Get(t.Context(), name); err != nil || u.Result != "success" {
		t.Errorf("%+v %v", u, err)
	}
	if text := log.String(); !strings.Contains(text, "verb=stop") ||
		strings.Contains(text, "verb=start") {
		t.Errorf("not stopped alone:\n%s", text)
	}
}

func TestRefusals(t *testing.T) {
	m := manager(t)
	name := unit(t, "refuse", sleeps)
	lab.Run(t, "systemctl", "mask", name)
	_, _, err := m.Start(t.Context(), name)
	want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_UNIT_MASKED)
	_, _, err = m.Files.Enable(t.Context(), name)
	want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_UNIT_MASKED)
	_, err = m.Get(t.Context(), "t-nothing.service")
	want(t, err, errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND)
	_, _, err = m.Ensure(t.Context(), "t-nothing.service", nil)
	want(t, err, errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND)
	_, err = m.Reload(t.Context(), unit(t, "noreload", sleeps))
	want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_UNIT_WRONG_STATE)
}

func TestTheConnectionComesBack(t *testing.T) {
	m := manager(t)
	name := unit(t, "comeback", sleeps)
	if _, _, err := m.Start(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "systemctl", "kill", "-s", "KILL", "dbus.service")
	lab.Eventually(t, time.Minute, "systemd answers again",
		func() bool { _, err := m.Get(t.Context(), name); return err == nil })
	if _, changed, err := m.Stop(t.Context(), name); err != nil || !changed {
		t.Fatal(err)
	}
}

func TestList(t *testing.T) {
	m := manager(t)
	name := unit(t, "list", sleeps)
	units, err := m.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, u := range units {
		names = append(names, u.Name)
	}
	if all := strings.Join(names, " "); !strings.Contains(all, name) ||
		!strings.Contains(all, "mariadb.service") {
		t.Errorf("units = %s", all)
	}
}

func TestAHostThatHasStartedDoesNotStart(t *testing.T) {
	m := manager(t)
	lab.Eventually(t, time.Minute, "the host has started", func() bool {
		return !m.Starting(t.Context())
	})
	if state, _ := lab.Try("systemctl", "is-system-running"); strings.Contains(state, "start") {
		t.Errorf("it is %s", state)
	}
}
