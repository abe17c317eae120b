//go:build vm

package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/deploy/stack"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// site is a control plane with the provider manual, and whoever works on its machines.
type site struct {
	*stack.Stack
	t         *testing.T
	whole     *testing.T // the test that this is a part of
	conn      *grpc.ClientConn
	dir       string
	machines  map[string]*machine
	volumes   map[string]*volume // by device
	snapshots map[string]string  // files, by the task's object
	clocks    map[string]string  // what the clock of a machine shows when it boots, by its name
	// during is done once when a step of the job that is waited for runs, by the name of the step.
	during map[string]func()
	joins  func(*machine) // how a new machine joins
}

// newSite starts a control plane in a folder of its own, which is removed when the test ends.
func newSite(t *testing.T) *site {
	t.Helper()
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("/var/lib/understudy-vm", t.Name())
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, whole: t, dir: dir, machines: map[string]*machine{},
		volumes: map[string]*volume{}, snapshots: map[string]string{},
		clocks: map[string]string{}, during: map[string]func(){}}
	s.joins = func(m *machine) {
		t.Logf("joined:\n%s", m.run(t, s.do("token", "create", m.name, "--ttl", "2h")))
	}
	if s.Stack, err = stack.New(stack.Config{Bin: bin, Name: "vm", Provider: "manual",
		Host: gateway, Dir: filepath.Join(dir, "state")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			log, _ := os.ReadFile(s.LogPath())
			t.Logf("the control plane's log:\n%s", tail(string(log), 60))
		}
		_ = os.RemoveAll(dir)
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.conn, err = s.Dial(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	return s
}

// in is the site as a part of a test sees it.
func (s *site) in(t *testing.T) *site {
	part := *s
	part.t = t
	return &part
}

// cli runs the command line.
func (s *site) cli(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), slow)
	defer cancel()
	cmd := s.CLI(ctx, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("understudy %s: %w: %s%s", strings.Join(args, " "), err, out,
			errs.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// do runs the command line and fails the test when it fails.
func (s *site) do(args ...string) string {
	s.t.Helper()
	out, err := s.cli(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// machine makes a machine with the agent's package, on.
func (s *site) machine(name string) *machine {
	s.t.Helper()
	if m := s.machines[name]; m != nil {
		return m
	}
	m := newMachine(s.t, s.whole, s.dir, name, 11+len(s.machines))
	s.machines[name], m.base = m, s.clocks[name]
	m.power(s.t)
	packages := s.packages()
	m.plug(s.t, packages)
	m.run(s.t, "udevadm wait --timeout=900 /dev/disk/by-id/virtio-packages; cd; "+
		"tar -xf /dev/disk/by-id/virtio-packages; dpkg -i ./*.deb")
	m.pull(s.t, packages)
	return m
}

// packages are those of this tree, as a disk.
func (s *site) packages() *volume {
	s.t.Helper()
	file := filepath.Join(s.dir, "packages.tar")
	if _, err := os.Stat(file); err != nil {
		s.tool("sh", "-ec", "cd ../../bin/packages; tar -cf "+file+" understudy-agent_*_amd64.deb")
	}
	return &volume{serial: "packages", path: file}
}

func (s *site) tool(argv ...string) {
	s.t.Helper()
	if out, err := exec.CommandContext(s.t.Context(), argv[0],
		argv[1:]...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
}

func (s *site) server(name string) *cpv1.Server {
	s.t.Helper()
	answer, err := cpv1.NewServerServiceClient(s.conn).GetServer(s.t.Context(),
		&cpv1.GetServerRequest{Name: "servers/" + name})
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.GetServer()
}

// becomes waits until a server has a state, and what the command line shows all of these words.
func (s *site) becomes(name string, state cpv1.Server_State, words ...string) {
	s.t.Helper()
	begin, view := time.Now(), ""
	defer func() { s.t.Logf("%s after %s:\n%s", name, time.Since(begin), view) }()
	await(s.t, fmt.Sprintf("%s is %s with %q", name, state, words), func() bool {
		if s.server(name).GetState() != state && len(words) == 0 {
			return false
		}
		view = s.do("server", "get", name)
		return s.server(name).GetState() == state && !slices.ContainsFunc(words,
			func(word string) bool { return !strings.Contains(view, word) })
	})
}
