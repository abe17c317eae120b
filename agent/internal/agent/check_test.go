package agent

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

func TestClocksAreCompared(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for ahead, want := range map[time.Duration]string{
		time.Second: StateOK, -4 * time.Minute: StateOK, 6 * time.Minute: StateMissing,
		-33 * 24 * time.Hour: StateMissing,
	} {
		got := checkClock(enroll.Introduction{Time: at, Host: at.Add(ahead)})
		if got.State != want {
			t.Errorf("%s: %+v", ahead, got)
		}
		if want == StateMissing && (!strings.Contains(got.Found, "2026-01-02T15:04:05Z") ||
			!strings.Contains(got.Found, at.Add(ahead).Format(time.RFC3339))) {
			t.Errorf("%s: not both clocks: %s", ahead, got.Found)
		}
	}
}

func examine(t *testing.T) *examiner {
	t.Helper()
	config, err := Load(Sources{Flags: map[string]any{"state_dir": t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := newExaminer(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	return e
}

func TestAPortOfAnotherProgramIsNamed(t *testing.T) {
	t.Parallel()
	e := examine(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	got := e.checkPort(t.Context(), "port", address, "no-such-unit.service")
	if got.State != StateMissing || !strings.Contains(got.Hint, "ss -ltnp") {
		t.Errorf("in use: %+v", got)
	}
	listener.Close()
	if got := e.checkPort(t.Context(), "port", address, mariadb.Unit); got.State != StateOK {
		t.Errorf("free: %+v", got)
	}
}

func TestNoControlPlaneIsAFinding(t *testing.T) {
	t.Parallel()
	got := introduce(t.Context(), []string{"127.0.0.1:1"}, strings.Repeat("0", 64)).findings()
	if len(got) != 1 || got[0].State != StateMissing || got[0].Hint == "" {
		t.Errorf("%+v", got)
	}
}
