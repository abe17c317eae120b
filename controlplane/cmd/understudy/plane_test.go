package main

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/controlplane/internal/app/apptest"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// scene is the control plane of a script, in a world of its own: a primary db1, and db2, a replica
// of it.
type scene struct {
	*apptest.Plane
	env   *testscript.Env
	in    *workflowtest.Process
	older map[string]bool // servers on whose hosts MariaDB is of an older series
}

func newScene(env *testscript.Env) *scene {
	t := env.T().(testing.TB)
	s := &scene{env: env, in: workflowtest.Outside(t).Process(), older: map[string]bool{}}
	s.in.W.Cloud.Instant = true
	s.in.W.Plant = func(h *workflowtest.Host) {
		if s.older[h.Name()] {
			h.Binary = "10.11.14"
		}
	}
	s.start(t.TempDir(), nil)
	s.run("server", "create", "db1")
	s.run("replica", "create", "db2", "--of", "db1", "--verify", "full")
	return s
}

// start starts a control plane on a state directory, and has the commands call it.
func (s *scene) start(dir string, more map[string]any) {
	settings := map[string]any{"verify_share": "0", "beat_interval": "100ms",
		"unreachable_after": "2s", "degraded_after": "1s"}
	for key, value := range more {
		settings[key] = value
	}
	t := s.env.T().(testing.TB)
	cfg := apptest.Settings(t, dir, settings)
	cfg.Version = "v1.2.2"
	s.Plane = apptest.Start(t, s.in, cfg)
	s.env.Setenv("UNDERSTUDY_ADDRESS", s.Address())
	s.env.Setenv("UNDERSTUDY_CREDENTIALS", filepath.Join(dir, "operator"))
	s.env.Setenv("SOCKET", "unix:"+filepath.Join(dir, "break-glass.sock"))
}

func (s *scene) dial() *grpc.ClientConn {
	return s.Dial(apptest.Operator(s.env.T().(testing.TB), s.Dir))
}

// run runs a command line that has to do.
func (s *scene) run(args ...string) {
	w, _, stderr := world(append(args, "--address", s.Address(), "--credentials",
		filepath.Join(s.Dir, "operator"))...)
	if code := Run(context.Background(), w); code != exitOK {
		s.env.T().(testing.TB).Fatalf("%v: exit code %d: %s", args, code, stderr)
	}
}

// plane stops or starts the control plane: plane stop | start | restart | manual.
func plane(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("scene").(*scene)
	switch what := strings.Join(args, " "); {
	case what == "stop":
		s.Stop()
	case what == "start", what == "restart":
		s.Stop()
		s.start(s.Dir, map[string]any{"listen": []string{s.Address()}})
	case what == "manual": // another one, whose machines operators make
		s.Stop()
		s.start(s.env.T().(testing.TB).TempDir(), map[string]any{"provider": "manual"})
		ts.Setenv("UNDERSTUDY_ADDRESS", s.Address())
		ts.Setenv("UNDERSTUDY_CREDENTIALS", filepath.Join(s.Dir, "operator"))
	default:
		ts.Fatalf("usage: plane stop | start | restart | manual")
	}
}

// cloud says what becomes of what is asked of the provider: cloud still | cloud moves, or, for the
// next machine, cloud refuses.
func cloud(ts *testscript.TestScript, _ bool, args []string) {
	w := ts.Value("scene").(*scene).World
	w.Mu.Lock()
	defer w.Mu.Unlock()
	switch what := strings.Join(args, " "); what {
	case "still", "moves":
		w.Cloud.Still = what == "still"
	case "refuses":
		ts.Value("scene").(*scene).in.Fail["CreateMachine"] = []error{provider.ErrRefused}
	default:
		ts.Fatalf("usage: cloud still | moves | refuses")
	}
}

// onHost changes the host of a server:
//
//	host NAME down | host NAME up       its agent
//	host NAME stop | host NAME start    its MariaDB
//	host NAME older | host NAME newer   the series of its MariaDB, before it is made too
//	host NAME differs                   its data
func onHost(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value("scene").(*scene)
	if neg || len(args) != 2 {
		ts.Fatalf("usage: host NAME down | up | stop | start | older | newer | differs")
	}
	s.World.Mu.Lock()
	defer s.World.Mu.Unlock()
	h := s.World.Hosts[args[0]]
	switch args[1] {
	case "down", "up":
		h.Down = args[1] == "down"
	case "stop":
		h.Stop()
	case "start":
		h.Start()
	case "differs":
		h.Running.Disk.Data.Tables["understudy.proof"]++
	case "older":
		s.older[args[0]] = true
	case "newer":
		h.Binary = "11.8.6"
	default:
		ts.Fatalf("a host cannot be made %s", args[1])
	}
}

// observed waits until the control plane has observed the hosts of all servers.
func observed(ts *testscript.TestScript, _ bool, _ []string) {
	s := ts.Value("scene").(*scene)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	servers := cpv1.NewServerServiceClient(s.dial())
	for {
		list, err := servers.ListServers(ctx, &cpv1.ListServersRequest{})
		ts.Check(err)
		if !slices.ContainsFunc(list.GetServers(),
			func(r *cpv1.Server) bool { return r.GetDisk() == nil }) {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
}

// keep keeps what a regular expression matches of the last command's output in a variable:
// keep VARIABLE TEXT.
func keep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: keep VARIABLE TEXT")
	}
	found := regexp.MustCompile(args[1]).FindString(ts.ReadFile("stdout"))
	if found == "" {
		ts.Fatalf("%s is not in stdout", args[1])
	}
	ts.Setenv(args[0], found)
}

// jobOf keeps the id of the newest job, or of that about something, in a variable:
// jobof VARIABLE [SUBJECT].
func jobOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: jobof VARIABLE [SUBJECT]")
	}
	s := ts.Value("scene").(*scene)
	jobs, err := cpv1.NewJobServiceClient(s.dial()).ListJobs(context.Background(),
		&cpv1.ListJobsRequest{Subject: strings.Join(args[1:], "")})
	ts.Check(err)
	if len(jobs.GetJobs()) == 0 {
		ts.Fatalf("there is no such job: %v", args)
	}
	ts.Setenv(args[0], strings.TrimPrefix(jobs.GetJobs()[0].GetName(), "jobs/"))
}
