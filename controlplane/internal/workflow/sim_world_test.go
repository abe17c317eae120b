package workflow_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// world is everything outside of the control plane: a cloud and the hosts in it.
type world struct {
	t     testing.TB
	store *store.Store

	mu      sync.Mutex
	cloud   *cloud
	hosts   map[string]*host // by server name
	effects []string         // changes that were made, in order
	plant   func(h *host)    // changes what a new machine comes with
	byHand  bool             // people do the cloud's work
}

func newWorld(t testing.TB) *world {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "u.db"),
		Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	w := &world{t: t, store: st, hosts: map[string]*host{}}
	w.cloud = newCloud(w)
	return w
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (w *world) now() time.Time { return time.Now() }

// effect notes a change; the caller holds the lock.
func (w *world) effect(where, what string) { w.effects = append(w.effects, where+":"+what) }

// changes are the effects that were made since mark, without those that leave nothing behind.
func (w *world) changes(mark int) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, e := range w.effects[mark:] {
		if !strings.HasSuffix(e, ":ProveWritable") {
			all = append(all, e)
		}
	}
	return all
}

func (w *world) mark() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.effects)
}

// boot makes the host of a new machine, with the image's default volume.
func (w *world) boot(m *provider.Machine) {
	h := newHost(w, m)
	if m.Image == "trixie" {
		v := w.cloud.addVolume(provider.Volume{State: provider.VolumeInUse, SizeBytes: 1 << 30,
			MachineID: m.ID, Default: true,
			Attachment: provider.AttachmentAttached, DeleteOnTermination: true},
			&disk{fs: "ext4", uuid: "default-uuid", data: newDatadir("11.8.6")})
		h.mountRaw(dataMount, v.ID, "/")
		h.mountRaw(datadirPath, v.ID, "/mysql")
	}
	w.hosts[m.Name] = h
	if w.plant != nil {
		w.plant(h)
	}
}

func (w *world) powerOff(machine string) {
	for name, h := range w.hosts {
		if h.machine.ID == machine {
			delete(w.hosts, name)
		}
	}
	for id, v := range w.cloud.volumes {
		if v.MachineID != machine {
			continue
		}
		v.MachineID, v.Attachment, v.State = "", provider.AttachmentNone, provider.VolumeAvailable
		if v.DeleteOnTermination {
			delete(w.cloud.volumes, id)
		}
	}
}

func (w *world) mounted(machine, volume string) bool {
	for _, h := range w.hosts {
		if h.machine.ID == machine {
			for _, m := range h.mounts {
				if m.volume == volume && m.mounted {
					return true
				}
			}
		}
	}
	return false
}

// process is one run of the control plane. Once it is dead nothing of it reaches anything any more.
type process struct {
	w      *world
	dead   atomic.Bool
	engine *job.Engine[kit.Records]
	flow   *kit.Kit
	stop   func()
	holds  []*simHold

	fail map[string][]error // by call: what the next calls answer instead of doing anything
	lose map[string]int     // by call: how many answers are lost after the effect
	hook func(point job.Point, step string)
}

var errDead = errors.New("this process is dead")

func (p *process) before(call string) error {
	if p.dead.Load() {
		return errDead
	}
	if next := p.fail[call]; len(next) > 0 {
		p.fail[call] = next[1:]
		return next[0]
	}
	return nil
}

func (p *process) after(call string) error {
	if p.lose[call] > 0 {
		p.lose[call]--
		return errs.New(errs.Unavailable, errorsv1.Reason_REASON_UNREACHABLE,
			"the answer of "+call+" was lost")
	}
	return nil
}

// kill ends the process as kill -9 does: its connections break, and with them what it held.
func (p *process) kill() {
	p.dead.Store(true)
	for _, h := range p.holds {
		h.end("the stream broke")
	}
}

// mortal is a process's way to the store.
type mortal struct {
	*store.Store
	p *process
}

func (m mortal) Write(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	if m.p.dead.Load() {
		return errDead
	}
	return m.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := fn(ctx, tx); err != nil {
			return err
		}
		if m.p.dead.Load() {
			return errDead
		}
		return nil
	})
}

func (m mortal) Read(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	if m.p.dead.Load() {
		return errDead
	}
	return m.Store.Read(ctx, fn)
}

type joinFiles struct{}

func (joinFiles) JoinFile(_ context.Context, server string) ([]byte, error) {
	return []byte(`{"server":"` + server + `"}`), nil
}

// start runs a control plane on the world until the test ends, or stop or kill is called.
func (w *world) start() *process {
	w.t.Helper()
	p := &process{w: w, fail: map[string][]error{}, lose: map[string]int{}}
	st := stored.New(mortal{w.store, p})
	engine, err := job.New(job.Config[kit.Records]{
		Store: st, Limit: time.Second, Poll: 5 * time.Millisecond, Logger: quiet(),
		Random: func() float64 { return 0.999 },
		Hook: func(point job.Point, _, step string) {
			if p.hook != nil && !p.dead.Load() {
				p.hook(point, step)
			}
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	p.engine = engine
	p.flow, err = workflow.New(kit.Config{
		Agents: agentsView{p}, Provider: w.view(p), Store: st,
		Tokens: joinFiles{}, Jobs: engine,
		Poll: time.Millisecond, Logger: quiet(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, plan := range p.flow.Plans() {
		if err := engine.Register(plan); err != nil {
			w.t.Fatal(err)
		}
	}
	return p
}

// run starts the process's workers.
func (p *process) run() *process {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = p.engine.Run(ctx) }()
	p.stop = func() { cancel(); <-ended }
	p.w.t.Cleanup(p.stop)
	return p
}

// ask makes a job.
func (p *process) ask(what asked) job.Job {
	p.w.t.Helper()
	req, err := p.request(p.w.t.Context(), what)
	if err != nil {
		p.w.t.Fatal(err)
	}
	j, err := p.engine.Create(p.w.t.Context(), req)
	if err != nil {
		p.w.t.Fatal(err)
	}
	return j
}

// end waits until the job is at rest.
func (p *process) end(id string) job.Job {
	p.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	updates, err := p.engine.Watch(ctx, id)
	if err != nil {
		p.w.t.Fatal(err)
	}
	var last job.Job
	for j := range updates {
		if last = j; !j.State.Active() && j.Owner == "" {
			return j
		}
	}
	p.w.t.Fatalf("job %s stays %s (%s): %s", id, last.State, last.Reason, states(last))
	return last
}

// must runs a job that has to succeed.
func (p *process) must(what asked) job.Job {
	p.w.t.Helper()
	return succeeded(p.w.t, p.end(p.ask(what).ID))
}

func succeeded(t testing.TB, j job.Job) job.Job {
	t.Helper()
	if j.State != job.Succeeded {
		t.Fatalf("job %s is %s: %s\n%s", j.Kind, j.State, j.Reason, states(j))
	}
	return j
}

func states(j job.Job) string {
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

func (w *world) server(name string) (srv inventory.Server) {
	w.t.Helper()
	err := w.store.Read(w.t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		srv, err = tx.Servers().Get(ctx, name)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return srv
}

func (w *world) snapshot(id string) (snap inventory.Snapshot) {
	w.t.Helper()
	err := w.store.Read(w.t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		snap, err = tx.Snapshots().Get(ctx, id)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return snap
}

// host returns a server's host.
func (w *world) host(name string) *host {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hosts[name]
	if h == nil {
		w.t.Fatalf("there is no host %s", name)
	}
	return h
}
