//go:build lab

package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/understudy-db/understudy/deploy/stack"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// lab is one control plane with its hosts, as a row sees it.
type lab struct {
	*stack.Stack
	*shared
	t *testing.T
}

// shared is what the rows of a lab have in common.
type shared struct {
	conn     *grpc.ClientConn
	writer   *stack.Writer
	others   map[string]*stack.Writer // of primaries that rows make for themselves, by name
	writers  int
	snapshot string    // of db1, for the rows that need any
	taken    time.Time // when that was
	standing string    // a replica that rows may use and leave well
	names    int
	cuts     int // connections that were cut so far
	// felledJobs are those in whose middle MariaDB was taken down: a statement of theirs may have
	// found it gone.
	felledJobs []string
	misdated   []string // jobs whose attempts a moved clock has dated
}

const primary = "db1"

// newLab takes a leftover of that name away and starts a control plane with a primary that is
// written to all along.
func newLab(t *testing.T, name, provider string) *lab {
	t.Helper()
	cfg := configOf(t, name, provider)
	s := newStack(t, cfg)
	if err := s.Down(context.Background()); err != nil {
		t.Fatal(err)
	}
	l := &lab{Stack: newStack(t, cfg), shared: &shared{others: map[string]*stack.Writer{}}, t: t}
	up := false
	defer func() {
		if !up {
			l.end()
		}
	}()
	l.start()
	l.run("server", "create", primary, "--image", "trixie", "--binlog-auto-purge")
	l.startWriter()
	up = true
	return l
}

// binDir is where the built programs are.
func binDir(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("FAULTS_BIN")
	if bin == "" {
		bin = "../../bin"
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func newStack(t *testing.T, cfg stack.Config) *stack.Stack {
	t.Helper()
	if _, err := os.Stat(filepath.Join(cfg.Bin, "understudy")); err != nil {
		t.Fatalf("the programs are not built: run `make build` (%v)", err)
	}
	s, err := stack.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (l *lab) end() {
	if l.conn != nil {
		l.conn.Close()
	}
	l.stopWriter()
	l.quietAll()
	if err := l.Down(context.Background()); err != nil {
		l.t.Error(err)
	}
}

// in is the lab as another row sees it.
func (l *lab) in(t *testing.T) *lab { return &lab{Stack: l.Stack, shared: l.shared, t: t} }

// startWriter starts a writer in a schema of its own, over the primary's socket, so that a cut
// network does not touch it.
func (l *lab) startWriter() {
	l.t.Helper()
	l.writers++
	account, err := l.NewAccount(l.t.Context(), primary, "", fmt.Sprintf("probe%d", l.writers))
	if err != nil {
		l.t.Fatal(err)
	}
	account.Socket = l.socket(primary)
	if l.writer, err = stack.StartWriter(context.Background(), account,
		20*time.Millisecond); err != nil {
		l.t.Fatal(err)
	}
}

// stopWriter ends the writer and returns its first error.
func (l *lab) stopWriter() {
	if l.writer == nil {
		return
	}
	_, err := l.writer.Stop()
	l.writer = nil
	if err != nil {
		l.t.Errorf("the primary refused a write: %v", err)
	}
}

// schema is the one that the writer writes to, in its table probe.
func (l *lab) schema() string { return fmt.Sprintf("probe%d", l.writers) }

// start starts the control plane, with a failpoint when one is given.
func (l *lab) start(env ...string) {
	l.t.Helper()
	if err := l.tryStart(env...); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) tryStart(env ...string) error {
	l.t.Helper()
	l.SetEnv(env...)
	err := l.Start(context.WithoutCancel(l.t.Context()))
	l.connect()
	return err
}

func (l *lab) connect() {
	l.t.Helper()
	if l.conn != nil {
		l.conn.Close()
	}
	conn, err := l.Dial()
	if err != nil {
		l.t.Fatal(err)
	}
	l.conn = conn
}

// dieAt restarts the control plane so that it kills itself at a failpoint. A job that stands there
// already is the death of it before it serves.
func (l *lab) dieAt(failpoint string) {
	l.t.Helper()
	l.Stop()
	if err := l.tryStart("UNDERSTUDY_FAILPOINT=" + failpoint); err != nil &&
		!errors.Is(err, stack.ErrEnded) {
		l.t.Fatal(err)
	}
}

// awaitDead waits until the failpoint ended the control plane.
func (l *lab) awaitDead() {
	l.t.Helper()
	select {
	case <-l.Exited():
	case <-time.After(4 * time.Minute):
		l.t.Fatal("the failpoint was not reached within 4m")
	}
}

// run runs the command line and fails the row when it fails.
func (l *lab) run(args ...string) string {
	l.t.Helper()
	out, err := l.try(args...)
	if err != nil {
		l.t.Fatalf("understudy %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// longestCommit is what a commit may take at most: each Quiesce has the same limit, and the rest is
// for a busy box.
const longestCommit = quiesceLimit + 3*time.Second

// limited gives the limit to a command that quiesces a server and has none.
func limited(args []string) []string {
	takes := []string{"create", "rebuild"}
	if len(args) > 1 && args[0] == "replica" && slices.Contains(takes, args[1]) &&
		!slices.Contains(args, "--from") && !slices.Contains(args, "--quiesce-limit") {
		return append(slices.Clone(args), "--quiesce-limit", quiesceLimit.String())
	}
	return args
}

// try runs the command line and returns all that it printed.
func (l *lab) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out, err := l.CLI(ctx, limited(args)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// refuse runs the command line, which has to fail with all of these words.
func (l *lab) refuse(words []string, args ...string) {
	l.t.Helper()
	out, err := l.try(args...)
	if err == nil {
		l.t.Fatalf("understudy %s was to be refused, but it printed:\n%s", strings.Join(args, " "),
			out)
	}
	for _, word := range words {
		if !strings.Contains(out, word) {
			l.t.Errorf("understudy %s was refused without %q:\n%s", strings.Join(args, " "), word,
				out)
		}
	}
}

// exec runs a command on a host and fails the row when it fails.
func (l *lab) exec(host string, argv ...string) string {
	l.t.Helper()
	out, err := l.Exec(context.Background(), host, argv...)
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// put writes a file on a host.
func (l *lab) put(host, path, content string) {
	l.t.Helper()
	l.exec(host, "mkdir", "-p", filepath.Dir(path))
	cmd := l.Lab(context.Background(), "exec", host, "--", "tee", path)
	cmd.Stdin = strings.NewReader(content)
	if err := cmd.Run(); err != nil {
		l.t.Fatalf("cannot write %s on %s: %v", path, host, err)
	}
}

// sql runs statements on a host and fails the row when they fail.
func (l *lab) sql(host, statements string) string {
	l.t.Helper()
	out, err := l.SQL(context.Background(), host, statements)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// detach starts a job by the command line and returns its name.
func (l *lab) detach(args ...string) string {
	l.t.Helper()
	words := strings.Fields(l.run(append(args, "--detach")...))
	for _, word := range words {
		if strings.HasPrefix(word, "jobs/") {
			return word
		}
	}
	return "jobs/" + words[len(words)-1]
}

// await watches a job until it has ended, or is such as until says.
func (l *lab) await(name string, limit time.Duration, until func(*job) bool) *job {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), limit)
	defer cancel()
	watch, err := cpv1.NewJobServiceClient(l.conn).WatchJob(ctx, &cpv1.WatchJobRequest{Name: name},
		grpc.WaitForReady(true))
	if err != nil {
		l.t.Fatal(err)
	}
	var last *job
	for {
		message, err := watch.Recv()
		if err != nil {
			l.t.Fatalf("watching %s: %v; it was:\n%s", name, err, protojson.Format(last))
		}
		last = message.GetJob()
		if until(last) {
			return last
		}
	}
}

// job is a job as the control plane shows it.
type job = cpv1.Job

const stepRunning = cpv1.Step_STATE_RUNNING

// bg is a context for what is put back after a row.
func (l *lab) bg() context.Context { return context.WithoutCancel(l.t.Context()) }

func ended(j *job) bool {
	switch j.GetState() {
	case cpv1.Job_STATE_SUCCEEDED, cpv1.Job_STATE_FAILED, cpv1.Job_STATE_CANCELLED,
		cpv1.Job_STATE_ACTION_REQUIRED:
		return true
	}
	return false
}

// succeeds waits for the end of a job, which has to be a good one.
func (l *lab) succeeds(name string) *job {
	l.t.Helper()
	j := l.await(name, 4*time.Minute, ended)
	if j.GetState() != cpv1.Job_STATE_SUCCEEDED {
		l.t.Fatalf("%s is %s: %v", name, j.GetState(), j.GetError())
	}
	return j
}

// fails waits for the end of a job, which has to refuse for this reason, in these words, and say
// the hint.
func (l *lab) fails(name, reason string, words ...string) *job {
	l.t.Helper()
	j := l.await(name, 5*time.Minute, ended)
	if j.GetState() != cpv1.Job_STATE_FAILED {
		l.t.Fatalf("%s was to fail with %s, it is %s", name, reason, j.GetState())
	}
	e := j.GetError()
	if e.GetReason() != reason || e.GetHint() == nil {
		l.t.Errorf("%s failed with reason %q, not %q, hint %q: %s", name, e.GetReason(), reason,
			e.GetHint().GetText(), e.GetMessage())
	}
	for _, word := range words {
		if !strings.Contains(e.GetMessage(), word) {
			l.t.Errorf("%s failed without saying %q: %s", name, word, e.GetMessage())
		}
	}
	l.t.Logf("refused: %s; %s", e.GetMessage(), e.GetHint())
	return j
}

func stepOf(j *job, name string) *cpv1.Step {
	for _, s := range j.GetSteps() {
		if s.GetName() == name {
			return s
		}
	}
	return nil
}

// eventually polls a condition for which there is no event.
func (l *lab) eventually(limit time.Duration, what string, condition func() bool) {
	l.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(limit)
	for !condition() {
		select {
		case <-end:
			l.t.Fatalf("not so within %s: %s", limit, what)
		case <-tick.C:
		}
	}
}

// second prepares another control plane on the same store and lab, and starts it.
func (l *lab) second() *stack.Stack {
	l.t.Helper()
	other, err := l.Twin()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := other.Start(l.bg()); err != nil {
		l.t.Fatal(err)
	}
	return other
}
