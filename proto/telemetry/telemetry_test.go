package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/telemetry"
	"github.com/understudy-db/understudy/proto/visible"
)

func TestLinesOfTheJournal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := telemetry.NewLogger(&out, telemetry.LogConfig{Level: slog.LevelDebug, Journal: true})
	log.Debug("d")
	log.With("server", "db1").Info("i", "took", 1500*time.Millisecond+400*time.Nanosecond)
	log.WithGroup("g").Warn("w", "took", 20*time.Microsecond)
	log.Error("e", "error", errors.New("two\nlines"))
	want := `<7>level=DEBUG msg=d
<6>level=INFO msg=i server=db1 took=1.5s
<4>level=WARN msg=w g.took=20µs
<3>level=ERROR msg=e error="two\nlines"
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestLinesElsewhere(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	telemetry.NewLogger(&out, telemetry.LogConfig{JSON: true}).Info("i", "took", time.Minute)
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["took"] != "1m0s" ||
		line["time"] == nil {
		t.Errorf("%s, %v", out.String(), err)
	}
}

func TestWhatGoesToTheJournal(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	at := info.Sys().(*syscall.Stat_t)
	stream := func(inode uint64) []string {
		return []string{"HOME=/", fmt.Sprintf("JOURNAL_STREAM=%d:%d", at.Dev, inode)}
	}
	if !telemetry.ToJournal(file, stream(at.Ino)) {
		t.Error("the journal's own stream is not known")
	}
	// A file is redirected inside a unit: its lines are not the journal's.
	if telemetry.ToJournal(file, stream(at.Ino+1)) || telemetry.ToJournal(file, nil) ||
		telemetry.ToJournal(io.Discard, stream(at.Ino)) {
		t.Error("another output is taken for the journal's")
	}
}

func TestALoopThatIsLateIsNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		set := loop.NewSet(slog.New(slog.DiscardHandler))
		check := telemetry.Loops(set)
		l := set.Start(loop.Spec{Name: "observe", Limit: time.Second, LateAfter: time.Minute})
		defer l.End()
		l.Round(t.Context(), func(context.Context) error { return errors.New("locked") })
		if err := check.Run(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(61 * time.Second)
		if err := check.Run(t.Context()); err == nil ||
			err.Error() != "observe: no good round for 1m1s: locked" {
			t.Errorf("error %v", err)
		}
	})
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	registry := telemetry.NewRegistry("test", "1.2.3")
	ok := telemetry.Check{Name: "store", Run: func(context.Context) error { return nil }}
	bad := telemetry.Check{Name: "monitor",
		Run: func(context.Context) error { return errors.New("it stands") }}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- telemetry.Endpoint{Metrics: registry, Alive: []telemetry.Check{ok},
			Ready: []telemetry.Check{ok, bad}, Log: slog.New(slog.DiscardHandler)}.Serve(ctx,
			listener)
	}()
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/metrics": {200, `test_build_info{goversion="`},
		"/healthz": {200, `{"ok":true,"checks":[{"name":"store","ok":true}]}`},
		"/readyz": {503, `{"ok":false,"checks":[{"name":"store","ok":true},` +
			`{"name":"monitor","ok":false,"error":"it stands"}]}`},
	} {
		answer, err := http.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != want.status ||
			!strings.Contains(string(body), want.body) {
			t.Errorf("%s: %d %.300s, %v", path, answer.StatusCode, body, err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A log is read on terminals: what they obey or hide is escaped in either format.
func TestALogHidesNothing(t *testing.T) {
	t.Parallel()
	for _, inJSON := range []bool{true, false} {
		var out strings.Builder
		telemetry.NewLogger(&out, telemetry.LogConfig{JSON: inJSON}).Info("said\u202e",
			"who", "ann\u3164", "what", "a\u009b31m\x1b[2J\u200bb")
		if strings.ContainsFunc(strings.TrimSuffix(out.String(), "\n"), visible.Hidden) {
			t.Errorf("%q", &out)
		}
	}
}
