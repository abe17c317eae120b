package workflowtest

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/stored"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// World is everything outside of the control plane: a cloud and the hosts in it.
type World struct {
	T     testing.TB
	Store *store.Store

	Mu      sync.Mutex
	Cloud   *Cloud
	Hosts   map[string]*Host // by server name
	effects []string         // changes that were made, in order
	Plant   func(h *Host)    // changes what a new machine comes with
	ByHand  bool             // people do the cloud's work
}

// NewWorld is a world with nothing in it but a store without records.
func NewWorld(t testing.TB) *World {
	t.Helper()
	w := Outside(t)
	w.Store = storetest.New(t)
	return w
}

// Outside is a world with nothing in it, for a control plane that has a store of its own; see
// Process.Provider and Process.Agents.
func Outside(t testing.TB) *World {
	w := &World{T: t, Hosts: map[string]*Host{}}
	w.Cloud = newCloud(w)
	return w
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (w *World) now() time.Time { return time.Now() }

// effect notes a change; the caller holds the lock.
func (w *World) effect(where, what string) { w.effects = append(w.effects, where+":"+what) }

// Changes are the effects that were made since mark, without those that leave nothing behind.
func (w *World) Changes(mark int) []string {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	var all []string
	for _, e := range w.effects[mark:] {
		if !strings.HasSuffix(e, ":ProveWritable") {
			all = append(all, e)
		}
	}
	return all
}

// Mark is where the changes are now; see Changes.
func (w *World) Mark() int {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	return len(w.effects)
}

// boot makes the host of a new machine, with the image's default volume.
func (w *World) boot(m *provider.Machine) {
	h := newHost(w, m)
	if m.Image == "trixie" {
		v := w.Cloud.addVolume(provider.Volume{State: provider.VolumeInUse, SizeBytes: 1 << 30,
			MachineID: m.ID, Default: true,
			Attachment: provider.AttachmentAttached, DeleteOnTermination: true},
			&Disk{fs: "ext4", UUID: "default-uuid", Data: newDatadir("11.8.6")})
		h.MountRaw(kit.DataMount, v.ID, "/")
		h.MountRaw(kit.DatadirPath, v.ID, "/mysql")
	}
	w.Hosts[m.Name] = h
	if w.Plant != nil {
		w.Plant(h)
	}
}

// PowerOff ends a machine with what goes with it; the caller holds Mu.
func (w *World) PowerOff(machine string) {
	for name, h := range w.Hosts {
		if h.machine.ID == machine {
			delete(w.Hosts, name)
		}
	}
	for id, v := range w.Cloud.Volumes {
		if v.MachineID != machine {
			continue
		}
		v.MachineID, v.Attachment, v.State = "", provider.AttachmentNone, provider.VolumeAvailable
		if v.DeleteOnTermination {
			delete(w.Cloud.Volumes, id)
		}
	}
}

func (w *World) mounted(machine, volume string) bool {
	for _, h := range w.Hosts {
		if h.machine.ID == machine {
			for _, m := range h.Mounts {
				if m.volume == volume && m.Mounted {
					return true
				}
			}
		}
	}
	return false
}

// Process is one run of the control plane. Once it is dead nothing of it reaches anything any more.
type Process struct {
	W       *World
	Dead    atomic.Bool
	Engine  *job.Engine[kit.Records]
	Flow    *kit.Kit
	Stop    func()
	streams []*simStream

	Fail map[string][]error // by call: what the next calls answer instead of doing anything
	Lose map[string]int     // by call: how many answers are lost after the effect
	// Behind is called once, by call, after the effect and before the answer.
	Behind map[string]func()
	hook   atomic.Pointer[func(point job.Point, step string)]
}

// OnPoint has hook called at each point of each step, in place of the one before.
func (p *Process) OnPoint(hook func(point job.Point, step string)) { p.hook.Store(&hook) }

var errDead = errors.New("this process is dead")

func (p *Process) before(ctx context.Context, call string) error {
	if p.Dead.Load() {
		return errDead
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if next := p.Fail[call]; len(next) > 0 {
		p.Fail[call] = next[1:]
		return next[0]
	}
	return nil
}

// behind is called without World.Mu: what it calls may wait.
func (p *Process) behind(call string) {
	p.W.Mu.Lock()
	fn := p.Behind[call]
	delete(p.Behind, call)
	p.W.Mu.Unlock()
	if fn != nil {
		fn()
	}
}

func (p *Process) after(call string) error {
	if p.Lose[call] > 0 {
		p.Lose[call]--
		return errs.New(errs.Unavailable, errorsv1.Reason_REASON_UNREACHABLE,
			"the answer of "+call+" was lost")
	}
	return nil
}

// Kill ends the process as kill -9 does: its connections break, and with them what it held.
func (p *Process) Kill() {
	p.Dead.Store(true)
	p.W.Mu.Lock()
	streams := slices.Clone(p.streams)
	p.W.Mu.Unlock()
	for _, s := range streams {
		s.cut("the stream broke")
	}
}

// lastAudit is fetched from a host that runs and whose agent answers.
func (p *Process) lastAudit(_ context.Context, server string) error {
	p.W.Mu.Lock()
	defer p.W.Mu.Unlock()
	h := p.W.Hosts[server]
	if h == nil || h.Down || h.machine.State != provider.MachineRunning {
		return errs.New(errs.Unavailable, errorsv1.Reason_REASON_AGENT_UNREACHABLE,
			"the agent of "+server+" does not answer")
	}
	h.Audited = true
	return nil
}

// mortal is a process's way to the store.
type mortal struct {
	*store.Store
	p *Process
}

func (m mortal) Write(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	if m.p.Dead.Load() {
		return errDead
	}
	return m.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := fn(ctx, tx); err != nil {
			return err
		}
		if m.p.Dead.Load() {
			return errDead
		}
		return nil
	})
}

func (m mortal) Read(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	if m.p.Dead.Load() {
		return errDead
	}
	return m.Store.Read(ctx, fn)
}

type joinFiles struct{}

func (joinFiles) JoinFile(_ context.Context, server string) ([]byte, error) {
	return []byte(`{"server":"` + server + `"}`), nil
}

// Process is a process that reaches the world, and runs nothing by itself.
func (w *World) Process() *Process {
	return &Process{W: w, Fail: map[string][]error{}, Lose: map[string]int{},
		Behind: map[string]func(){}}
}

// Start runs a control plane on the world until the test ends, or stop or kill is called.
func (w *World) Start() *Process {
	w.T.Helper()
	p := w.Process()
	st := stored.New(mortal{w.Store, p})
	engine, err := job.New(job.Config[kit.Records]{
		Store: st, Logger: quiet(),
		Random: func() float64 { return 0.999 },
		Hook: func(point job.Point, _, step string) {
			if hook := p.hook.Load(); hook != nil && !p.Dead.Load() {
				(*hook)(point, step)
			}
		},
	})
	if err != nil {
		w.T.Fatal(err)
	}
	p.Engine = engine
	p.Flow, err = workflow.New(kit.Config{
		Agents: agentsView{p}, Provider: w.view(p), Store: st,
		Tokens: joinFiles{}, Jobs: engine, LastAudit: p.lastAudit,
		Logger: quiet(),
	})
	if err != nil {
		w.T.Fatal(err)
	}
	for _, plan := range p.Flow.Plans() {
		if err := engine.Register(plan); err != nil {
			w.T.Fatal(err)
		}
	}
	return p
}

// Run starts the process's workers.
func (p *Process) Run() *Process {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = p.Engine.Run(ctx) }()
	p.Stop = func() { cancel(); <-ended }
	p.W.T.Cleanup(p.Stop)
	return p
}

// Ask makes a job.
func (p *Process) Ask(what Asked) job.Job {
	p.W.T.Helper()
	req, err := p.Request(p.W.T.Context(), what)
	if err != nil {
		p.W.T.Fatal(err)
	}
	j, err := p.Engine.Create(p.W.T.Context(), req)
	if err != nil {
		p.W.T.Fatal(err)
	}
	return j
}

// End waits until the job is at rest.
func (p *Process) End(id string) job.Job {
	p.W.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	updates, err := p.Engine.Watch(ctx, id)
	if err != nil {
		p.W.T.Fatal(err)
	}
	var last job.Job
	for j := range updates {
		if last = j; !j.State.Active() && j.Owner == "" {
			return j
		}
	}
	p.W.T.Fatalf("job %s stays %s (%s): %s", id, last.State, last.Reason, States(last))
	return last
}

// Must runs a job that has to succeed.
func (p *Process) Must(what Asked) job.Job {
	p.W.T.Helper()
	return Succeeded(p.W.T, p.End(p.Ask(what).ID))
}

// Succeeded fails the test unless the job succeeded.
func Succeeded(t testing.TB, j job.Job) job.Job {
	t.Helper()
	if j.State != job.Succeeded {
		t.Fatalf("job %s is %s: %s\n%s", j.Kind, j.State, j.Reason, States(j))
	}
	return j
}

// States are a job's steps with what they say, for people.
func States(j job.Job) string {
	var lines []string
	for _, s := range j.Steps {
		line := s.Kind + "=" + string(s.State) + " " + s.Reason
		if s.Failure != nil {
			line += " [" + s.Failure.Reason + "] " + s.Failure.Message
		}
		for _, c := range s.Changed {
			line += "\n      + " + c
		}
		for _, c := range s.Found {
			line += "\n      . " + c
		}
		lines = append(lines, line)
	}
	return "  " + strings.Join(lines, "\n  ")
}

// Server is a server's record.
func (w *World) Server(name string) (srv inventory.Server) {
	w.T.Helper()
	err := w.Store.Read(w.T.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		srv, err = tx.Servers().Get(ctx, name)
		return err
	})
	if err != nil {
		w.T.Fatal(err)
	}
	return srv
}

// Snapshot is a snapshot's record.
func (w *World) Snapshot(id string) (snap inventory.Snapshot) {
	w.T.Helper()
	err := w.Store.Read(w.T.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		snap, err = tx.Snapshots().Get(ctx, id)
		return err
	})
	if err != nil {
		w.T.Fatal(err)
	}
	return snap
}

// Host returns a server's host.
func (w *World) Host(name string) *Host {
	w.T.Helper()
	w.Mu.Lock()
	defer w.Mu.Unlock()
	h := w.Hosts[name]
	if h == nil {
		w.T.Fatalf("there is no host %s", name)
	}
	return h
}
