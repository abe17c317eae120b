package follow_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/follow"
	"github.com/understudy-db/understudy/controlplane/internal/app/apptest"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// heard counts what a watcher hears, and lets a test act on it.
type heard struct {
	jobs, lost, back atomic.Int64
	onJob            func(*cpv1.Job)
	onLost           func()
}

func (h *heard) Job(job *cpv1.Job) {
	h.jobs.Add(1)
	if h.onJob != nil {
		h.onJob(job)
	}
}

func (h *heard) Lost(error, time.Duration) {
	h.lost.Add(1)
	if h.onLost != nil {
		h.onLost()
	}
}

func (h *heard) Back() { h.back.Add(1) }

// plane is a control plane with a job that was just asked for.
type plane struct {
	*apptest.Plane
	process *workflowtest.Process
	client  cpv1.JobServiceClient
	job     string
}

// start starts a control plane in a world that plant has changed before.
func start(t *testing.T, plant func(*workflowtest.Process)) *plane {
	t.Helper()
	process := workflowtest.Outside(t).Process()
	process.W.Cloud.Instant = true
	plant(process)
	p := &plane{process: process, Plane: apptest.Start(t, process,
		apptest.Settings(t, t.TempDir(), nil))}
	conn := p.Dial(apptest.Operator(t, p.Dir))
	p.client = cpv1.NewJobServiceClient(conn)
	answer, err := cpv1.NewServerServiceClient(conn).CreateServer(t.Context(),
		&cpv1.CreateServerRequest{Name: "servers/db1"})
	if err != nil {
		t.Fatal(err)
	}
	p.job = answer.GetJob().GetName()
	return p
}

// waits has the job wait for its machine.
func waits(p *workflowtest.Process) { p.W.Cloud.Still = true }

// goesOn has a machine that was waited for come up.
func (p *plane) goesOn() {
	p.World.Mu.Lock()
	defer p.World.Mu.Unlock()
	p.World.Cloud.Still = false
}

func TestFollowsToTheEnd(t *testing.T) {
	t.Parallel()
	for want, plant := range map[cpv1.Job_State]func(*workflowtest.Process){
		cpv1.Job_STATE_SUCCEEDED: func(*workflowtest.Process) {},
		cpv1.Job_STATE_FAILED:    func(p *workflowtest.Process) { p.W.Cloud.Images = nil },
		cpv1.Job_STATE_ACTION_REQUIRED: func(p *workflowtest.Process) {
			p.Fail["CreateMachine"] = []error{provider.ErrRefused}
		},
	} {
		t.Run(want.String(), func(t *testing.T) {
			t.Parallel()
			p := start(t, plant)
			w := &heard{}
			job, err := follow.Job(t.Context(),
				follow.Config{Client: p.client, Name: p.job, Watcher: w})
			if err != nil || job.GetState() != want {
				t.Fatalf("%v %v", job.GetState(), err)
			}
			if w.jobs.Load() < 1 || w.lost.Load() != 0 {
				t.Errorf("heard %d times of the job, %d times that it was lost", w.jobs.Load(),
					w.lost.Load())
			}
		})
	}
}

func TestGoesOnWhenTheControlPlaneCameBack(t *testing.T) {
	t.Parallel()
	p := start(t, waits)
	w := &heard{}
	stopped := false
	w.onJob = func(job *cpv1.Job) {
		if !stopped && job.GetState() == cpv1.Job_STATE_WAITING {
			stopped = true
			p.Stop()
		}
	}
	w.onLost = func() {
		p.goesOn()
		apptest.Start(t, p.process, apptest.Settings(t, p.Dir,
			map[string]any{"listen": []string{p.Address()}}))
	}
	job, err := follow.Job(t.Context(), follow.Config{Client: p.client, Name: p.job, Watcher: w})
	if err != nil || job.GetState() != cpv1.Job_STATE_SUCCEEDED {
		t.Fatalf("%v %v", job.GetState(), err)
	}
	if w.lost.Load() != 1 || w.back.Load() != 1 {
		t.Errorf("lost %d times, back %d times", w.lost.Load(), w.back.Load())
	}
}

func TestGivesUpAfterTheLimit(t *testing.T) {
	t.Parallel()
	p := start(t, waits)
	w := &heard{onJob: func(*cpv1.Job) { go p.Stop() }}
	began := time.Now()
	job, err := follow.Job(t.Context(), follow.Config{Client: p.client, Name: p.job, Watcher: w,
		Limit: 300 * time.Millisecond})
	if errs.KindOf(err) != errs.Unavailable || job == nil {
		t.Fatalf("%v %v", job, err)
	}
	if took := time.Since(began); took < 300*time.Millisecond || took > 10*time.Second {
		t.Errorf("gave up after %v", took)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	p := start(t, waits)
	p.Stop()
	job, err := follow.Job(t.Context(),
		follow.Config{Client: p.client, Name: p.job, Watcher: &heard{}})
	if job != nil || errs.KindOf(err) != errs.Unavailable {
		t.Fatalf("%v %v", job, err)
	}
}

func TestNoSuchJob(t *testing.T) {
	t.Parallel()
	p := start(t, waits)
	_, err := follow.Job(t.Context(), follow.Config{Client: p.client, Name: "jobs/nosuch",
		Watcher: &heard{}})
	if errs.KindOf(err) != errs.NotFound {
		t.Fatal(err)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p := start(t, waits)
	ctx, cancel := context.WithCancel(t.Context())
	w := &heard{onJob: func(job *cpv1.Job) {
		if job.GetState() == cpv1.Job_STATE_WAITING {
			cancel()
		}
	}}
	if _, err := follow.Job(ctx,
		follow.Config{Client: p.client, Name: p.job, Watcher: w}); !errors.Is(err,
		context.Canceled) {
		t.Fatal(err)
	}
}
