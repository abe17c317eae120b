//go:build lab

// Package e2e tests the built programs from outside, on real hosts: real systemd, real MariaDB,
// real block devices.
package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/understudy-db/understudy/deploy/stack"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// lab is a stack with connections to its control plane.
type lab struct {
	*stack.Stack
	*link
	t *testing.T
}

// link is the connection to the control plane, made anew with each of its starts.
type link struct{ conn *grpc.ClientConn }

// in is the lab as a part of a test sees it.
func (l *lab) in(t *testing.T) *lab { return &lab{Stack: l.Stack, link: l.link, t: t} }

// part runs a part of a test.
func (l *lab) part(name string, run func(*lab, *testing.T)) {
	l.t.Run(name, func(t *testing.T) { run(l.in(t), t) })
}

// newLab takes a leftover of that name away, starts a control plane, and takes all of it away when
// the test ends.
func newLab(t *testing.T, name string) *lab {
	t.Helper()
	return newLabOf(t, stack.Config{Name: "e2e-" + name,
		Dir: filepath.Join("/var/lib/understudy-e2e", name)})
}

// newLabOf is newLab with a configuration.
func newLabOf(t *testing.T, cfg stack.Config) *lab {
	t.Helper()
	cfg.Bin = builtPrograms(t)
	s, err := stack.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Down(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s, err = stack.New(cfg); err != nil {
		t.Fatal(err)
	}
	l := &lab{Stack: s, link: &link{}, t: t}
	t.Cleanup(l.end)
	l.start()
	return l
}

// builtPrograms is the folder with the built programs.
func builtPrograms(t *testing.T) string {
	t.Helper()
	bin, err := filepath.Abs("../../bin")
	if err == nil {
		_, err = os.Stat(filepath.Join(bin, "understudy"))
	}
	if err != nil {
		t.Fatalf("the programs are not built: run `make build` (%v)", err)
	}
	return bin
}

func (l *lab) end() {
	if l.conn != nil {
		l.conn.Close()
	}
	if l.t.Failed() {
		if log, err := os.ReadFile(l.LogPath()); err == nil {
			l.t.Logf("the control plane's log:\n%s", lastLines(string(log), 60))
		}
	}
	if err := l.Down(context.Background()); err != nil {
		l.t.Error(err)
	}
}

// start starts the control plane, with a failpoint when one is given.
func (l *lab) start(env ...string) {
	l.t.Helper()
	l.SetEnv(env...)
	if err := l.Start(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	if l.conn != nil {
		l.conn.Close()
	}
	conn, err := l.Dial()
	if err != nil {
		l.t.Fatal(err)
	}
	l.conn = conn
}

// run runs the command line and fails the test when it fails.
func (l *lab) run(args ...string) string {
	l.t.Helper()
	out, err := l.try(args...)
	if err != nil {
		l.t.Fatalf("understudy %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// try runs the command line and returns all that it printed.
func (l *lab) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(l.t.Context(), 4*time.Minute)
	defer cancel()
	out, err := l.CLI(ctx, args...).CombinedOutput()
	return string(out), err
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

// exec runs a command on a host and fails the test when it fails.
func (l *lab) exec(host string, argv ...string) string {
	l.t.Helper()
	out, err := l.Exec(l.t.Context(), host, argv...)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// fed runs a command on a host with that standard input.
func (l *lab) fed(stdin, host string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := l.Lab(ctx, append([]string{"exec", host, "--"}, argv...)...)
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), nil
	out, err := cmd.Output()
	return string(out), err
}

// sql runs statements on a host and fails the test when they fail.
func (l *lab) sql(host, statements string) string {
	l.t.Helper()
	out, err := l.SQL(l.t.Context(), host, statements)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

func (l *lab) server(name string) *cpv1.Server {
	l.t.Helper()
	answer, err := cpv1.NewServerServiceClient(l.conn).GetServer(l.t.Context(),
		&cpv1.GetServerRequest{Name: "servers/" + name})
	if err != nil {
		l.t.Fatal(err)
	}
	return answer.GetServer()
}

// lastJob is the newest job of that kind about a subject.
func (l *lab) lastJob(kind string) *cpv1.Job {
	l.t.Helper()
	jobs := cpv1.NewJobServiceClient(l.conn)
	list, err := jobs.ListJobs(l.t.Context(), &cpv1.ListJobsRequest{})
	if err != nil {
		l.t.Fatal(err)
	}
	for _, j := range list.GetJobs() {
		if enum.Word(j.GetKind()) == kind {
			answer, err := jobs.GetJob(l.t.Context(), &cpv1.GetJobRequest{Name: j.GetName()})
			if err != nil {
				l.t.Fatal(err)
			}
			return answer.GetJob()
		}
	}
	l.t.Fatalf("no job of kind %s", kind)
	return nil
}

// await watches a job until it is in one of these states.
func (l *lab) await(name string, limit time.Duration, states ...cpv1.Job_State) *cpv1.Job {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), limit)
	defer cancel()
	watch, err := cpv1.NewJobServiceClient(l.conn).WatchJob(ctx, &cpv1.WatchJobRequest{Name: name})
	if err != nil {
		l.t.Fatal(err)
	}
	var last *cpv1.Job
	for {
		message, err := watch.Recv()
		if err != nil {
			l.t.Fatalf("watching %s: %v; it was:\n%s", name, err, protojson.Format(last))
		}
		last = message.GetJob()
		for _, s := range states {
			if last.GetState() == s {
				return last
			}
		}
	}
}

// objects are the provider's objects of one kind that are not gone.
func (l *lab) objects(kind string) []*cpv1.ProviderObject {
	l.t.Helper()
	answer, err := cpv1.NewProviderServiceClient(l.conn).ListObjects(l.t.Context(),
		&cpv1.ListObjectsRequest{PageSize: 1000})
	if err != nil {
		l.t.Fatal(err)
	}
	var found []*cpv1.ProviderObject
	for _, o := range answer.GetObjects() {
		if enum.Word(o.GetKind()) == kind && o.GetState() != "deleted" &&
			o.GetState() != "terminated" {
			found = append(found, o)
		}
	}
	return found
}

// writer starts a writer on a primary that goes on until the test ends; it must never fail.
func (l *lab) writer(primary string) *stack.Writer {
	l.t.Helper()
	account, err := l.NewAccount(l.t.Context(), primary, l.server(primary).GetAddress(), "probe")
	if err != nil {
		l.t.Fatal(err)
	}
	w, err := stack.StartWriter(context.Background(), account, 20*time.Millisecond)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if _, err := w.Stop(); err != nil {
			l.t.Errorf("the primary refused a write: %v", err)
		}
	})
	return w
}

// same fails the test unless both servers hold the same rows in the writer's table, at a position
// of the primary's.
func (l *lab) same(primary, replica string) {
	l.t.Helper()
	last := l.sql(primary, "SELECT MAX(id) FROM probe.probe")
	position := l.sql(primary, "SELECT @@gtid_binlog_pos")
	if got := l.sql(replica, fmt.Sprintf("SELECT MASTER_GTID_WAIT('%s', 60)",
		position)); got != "0" {
		l.t.Fatalf("%s does not reach %s", replica, position)
	}
	const upTo = "SELECT COUNT(*), COALESCE(SUM(CRC32(CONCAT(id, at))), 0) FROM probe.probe " +
		"WHERE id <= %s"
	if a, b := l.sql(primary, fmt.Sprintf(upTo, last)),
		l.sql(replica, fmt.Sprintf(upTo, last)); a != b {
		l.t.Errorf("%s has %s rows, %s has %s", primary, a, replica, b)
	}
}

// starts is how often systemd started MariaDB on a host since it booted.
func (l *lab) starts(host string) int {
	l.t.Helper()
	out := l.exec(host, "journalctl", "--output=json", "UNIT=mariadb.service",
		"MESSAGE_ID=39f53479d3a045ac8e11786248231fbf")
	n := 0
	for line := range strings.Lines(out) {
		if json.Valid([]byte(line)) {
			n++
		}
	}
	return n
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
