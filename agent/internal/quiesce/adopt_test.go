package quiesce

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	socketEnv = "UNDERSTUDY_TEST_QUIESCE_SOCKET"
	theJob    = "jobs/1"
	theNonce  = "0123456789abcdef0123456789abcdef"
	other     = "fedcba9876543210fedcba9876543210"
	// never is longer than a test: what ends, ends by something else.
	never = time.Hour
)

// TestProcess is no test but the process, when a launcher below runs this program again.
func TestProcess(t *testing.T) {
	socket := os.Getenv(socketEnv)
	if socket == "" {
		return
	}
	err := runWith(t.Context(), ProcessConfig{Socket: socket,
		Log: slog.New(slog.DiscardHandler)},
		func(p *process, _ context.Context) (strategy, error) {
			return &stopped{process: p}, nil
		})
	if err != nil {
		t.Error(err)
	}
}

// stopped is a mode of which nothing but the process is real. Under the nonce `other` its point is
// never reached.
type stopped struct{ *process }

func (s *stopped) reach(ctx context.Context) (consistentpoint.Point, error) {
	if s.spec.Nonce == other {
		s.say("stopping MariaDB")
		<-ctx.Done()
		return consistentpoint.Point{}, ctx.Err()
	}
	return consistentpoint.Point{BinlogPos: "0-1-7", At: time.Now().UTC()}, nil
}

func (s *stopped) prove(context.Context) (mariadb.Positions, error) {
	return mariadb.Positions{Binlog: "0-1-7"}, nil
}

func (s *stopped) resume() error { return nil }

func (s *stopped) finish(result *Result) { result.Down = time.Second }

// processes launches them as processes of their own.
type processes struct {
	t    *testing.T
	mu   sync.Mutex
	last *launched
}

type launched struct {
	*exec.Cmd
	ended chan struct{}
}

func (l *processes) Launch(_ context.Context, _ Spec, socket string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &launched{exec.Command(os.Args[0], "-test.run=^TestProcess$"), make(chan struct{})}
	p.Env = append(os.Environ(), socketEnv+"="+socket)
	if err := p.Start(); err != nil {
		return err
	}
	l.last = p
	l.t.Cleanup(func() { _ = p.Process.Kill(); <-p.ended })
	go func() { _ = p.Wait(); close(p.ended) }()
	return nil
}

// process is the one that was launched last.
func (l *processes) process() *launched {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// await waits until it has ended.
func (l *processes) await() { <-l.process().ended }

func (l *processes) kill() { _ = l.process().Process.Kill() }

func (l *processes) Clear(context.Context, string) error {
	if l.process() != nil {
		l.kill()
		l.await()
	}
	return nil
}

func (l *processes) Stop(ctx context.Context) error { return l.Clear(ctx, "") }

func (l *processes) Exit(context.Context, string, string) (string, error) {
	return "it was killed", nil
}

type noAppliers struct{}

func (noAppliers) ResumeAppliers(context.Context, string) error { return nil }

// agentOn is an agent's manager on a host; the host outlives it.
func agentOn(t *testing.T, host *processes, dir string) *Manager {
	t.Helper()
	m, err := New(Config{Launcher: host, Appliers: noAppliers{}, Dir: dir,
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func host(t *testing.T) (*Manager, *processes, string) {
	t.Helper()
	h, dir := &processes{t: t}, t.TempDir()
	return agentOn(t, h, dir), h, dir
}

func offlineSpec() Spec {
	return Spec{Mode: Offline, Limit: never, LockWait: time.Second, Nonce: theNonce, Job: theJob,
		AdoptWithin: never}
}

func begin(t *testing.T, m *Manager, spec Spec) *Session {
	t.Helper()
	s, err := m.Start(t.Context(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// die is what a SIGKILL of the agent does: its connections end.
func die(s *Session) { s.hold.conn.conn.Close() }

// next is the agent after one that died.
func next(t *testing.T, h *processes, dir string) *Manager {
	t.Helper()
	m := agentOn(t, h, dir)
	m.Find()
	m.Clear(t.Context())
	return m
}

func refused(t *testing.T, err error, reason errorsv1.Reason, words string) {
	t.Helper()
	if errs.ReasonOf(err) != reason || !strings.Contains(err.Error(), words) {
		t.Errorf("not %s with %q: %v", reason, words, err)
	}
}

func resumed(t *testing.T, s *Session, err error) Result {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	result, err := s.Resume(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestAnotherAgentHasTheSamePoint(t *testing.T) {
	t.Parallel()
	m, h, dir := host(t)
	s := begin(t, m, offlineSpec())
	die(s)
	again := next(t, h, dir)
	if !again.Active() {
		t.Error("the next agent does not know that MariaDB is quiesced")
	}
	busy := errorsv1.Reason_REASON_QUIESCE_BUSY
	_, err := again.Adopt(t.Context(), theJob, other)
	refused(t, err, busy, "another nonce")
	_, err = again.Adopt(t.Context(), "jobs/2", theNonce)
	refused(t, err, busy, "another caller")
	_, err = again.Start(t.Context(), offlineSpec(), nil)
	refused(t, err, busy, "another caller")
	adopted, err := again.Adopt(t.Context(), theJob, theNonce)
	if result := resumed(t, adopted, err); !result.Unbroken || result.Down != time.Second {
		t.Errorf("%+v", result)
	}
	if adopted.Point.BinlogPos != s.Point.BinlogPos || !adopted.Point.At.Equal(s.Point.At) ||
		adopted.Left() <= 0 || adopted.Left() > never {
		t.Errorf("%+v with %s left, not %+v", adopted.Point, adopted.Left(), s.Point)
	}
	h.await()
	// An answer that was lost is had again, also from the agent after that.
	for _, m := range []*Manager{again, next(t, h, dir)} {
		late, err := m.Adopt(t.Context(), theJob, theNonce)
		if result := resumed(t, late, err); !result.Unbroken || late.Point.BinlogPos == "" {
			t.Errorf("%+v", result)
		}
	}
	s = begin(t, next(t, h, dir), offlineSpec())
	s.Close()
	<-s.Ended()
}

func TestTheNewestCallerHasIt(t *testing.T) {
	t.Parallel()
	m, _, _ := host(t)
	first := begin(t, m, offlineSpec())
	second, err := m.Adopt(t.Context(), theJob, theNonce)
	if err != nil {
		t.Fatal(err)
	}
	<-first.Taken()
	_, err = first.Resume(t.Context())
	refused(t, err, errorsv1.Reason_REASON_QUIESCE_BUSY, "another stream")
	first.Leave()
	if m.caller != second {
		t.Error("the first caller took it from the second")
	}
	if result := resumed(t, second, nil); !result.Unbroken {
		t.Errorf("%+v", result)
	}
	_, err = first.Resume(t.Context())
	refused(t, err, errorsv1.Reason_REASON_QUIESCE_BUSY, "another stream")
}

// In the wait for a caller nothing ends it but the end of the wait.
func TestACallerThatLeftMayComeBack(t *testing.T) {
	t.Parallel()
	m, _, _ := host(t)
	s := begin(t, m, offlineSpec())
	s.Leave()
	s, err := m.Adopt(t.Context(), theJob, theNonce)
	if result := resumed(t, s, err); !result.Unbroken {
		t.Errorf("%+v", result)
	}
	spec := offlineSpec()
	spec.AdoptWithin = time.Millisecond
	<-s.Ended()
	awaitIdle(t, m)
	s = begin(t, m, spec)
	s.Leave()
	<-s.Ended()
	s, err = m.Adopt(t.Context(), theJob, theNonce)
	if result := resumed(t, s, err); result.Unbroken ||
		!strings.Contains(result.BrokenReason, "nobody adopted it within 1ms") {
		t.Errorf("%+v", result)
	}
}

// awaitIdle waits until the next session may start.
func awaitIdle(t *testing.T, m *Manager) {
	t.Helper()
	for m.Active() {
		if t.Context().Err() != nil {
			t.Fatal("the session is not over")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestWithoutAnAgentTheLimitEndsIt(t *testing.T) {
	t.Parallel()
	m, h, dir := host(t)
	spec := offlineSpec()
	spec.Limit, spec.AdoptWithin = 200*time.Millisecond, time.Second
	die(begin(t, m, spec))
	h.await()
	s, err := next(t, h, dir).Adopt(t.Context(), theJob, theNonce)
	if result := resumed(t, s, err); result.Unbroken ||
		!strings.Contains(result.BrokenReason, "its limit was over") {
		t.Errorf("%+v", result)
	}
}

func TestAProcessThatWasKilledIsToldWithItsCause(t *testing.T) {
	t.Parallel()
	m, h, dir := host(t)
	s := begin(t, m, offlineSpec())
	h.kill()
	if result := resumed(t, s, nil); result.Unbroken ||
		!strings.Contains(result.BrokenReason, "is gone: it was killed") {
		t.Errorf("%+v", result)
	}
	_, err := next(t, h, dir).Adopt(t.Context(), theJob, theNonce)
	refused(t, err, errorsv1.Reason_REASON_QUIESCE_BROKEN, "is gone: it was killed")
	_, err = m.Adopt(t.Context(), theJob, other)
	refused(t, err, errorsv1.Reason_REASON_QUIESCE_BROKEN, "has no trace of it")
}

// What blocks writes, and what has no point yet, ends with its agent.
func TestWhatDoesNotOutliveItsAgent(t *testing.T) {
	t.Parallel()
	m, h, dir := host(t)
	spec := offlineSpec()
	spec.AdoptWithin = 0
	die(begin(t, m, spec))
	h.await()
	if _, err := os.Stat(heldSocket(dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it waits for another agent: %v", err)
	}
	awaitIdle(t, m)

	spec = offlineSpec()
	spec.Nonce = other
	ctx, cancel := context.WithCancel(t.Context())
	_, err := m.Start(ctx, spec, func(progress string) {
		if progress == "stopping MariaDB" {
			cancel()
		}
	})
	refused(t, err, errorsv1.Reason_REASON_QUIESCE_NOT_ACQUIRED, "its caller went away")
	h.await()
}

func TestOnlyItsJobEndsIt(t *testing.T) {
	t.Parallel()
	m, h, dir := host(t)
	die(begin(t, m, offlineSpec()))
	m = next(t, h, dir)
	for _, job := range []string{"jobs/2", ""} {
		if result, err := m.End(t.Context(), job); err != nil || result != nil {
			t.Errorf("%q: %+v %v", job, result, err)
		}
	}
	result, err := m.End(t.Context(), theJob)
	if err != nil || result == nil || !strings.Contains(result.BrokenReason, "its job ended it") {
		t.Errorf("%+v %v", result, err)
	}
	h.await()
	if result, err := m.End(t.Context(), theJob); err != nil || result != nil {
		t.Errorf("%+v %v", result, err)
	}
}

// Systemd's words for the end of a process, and its command that keeps them.
func TestExitIsTold(t *testing.T) {
	t.Parallel()
	for saw, want := range map[string]string{
		"signal killed KILL":   "signal KILL",
		"oom-kill killed KILL": "memory ran out",
		"timeout killed TERM":  "after its limit",
		"exit-code exited 1":   "status 1",
		"success exited 0":     "without a result",
		"":                     "without a result",
	} {
		if got := exitWords(strings.Fields(saw)); !strings.Contains(got, want) {
			t.Errorf("%q: %s", saw, got)
		}
	}
	dir := t.TempDir()
	after := recovery{Run: newRun(), Nonce: theNonce}
	if err := os.WriteFile(exitFile(dir), []byte(after.Run+" signal killed SEGV\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	if got, ok := after.await(t.Context(), dir); !ok || got != "it was killed (signal SEGV)" {
		t.Error(got)
	}
	if got, ok := (recovery{Run: "another"}).exited(dir); ok {
		t.Errorf("the end of another process: %s", got)
	}
}
