package follow_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/fakecp"
	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/follow"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
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

// start is a fake with a job that was just asked for.
func start(t *testing.T, server string) (*fakecp.Server, cpv1.JobServiceClient, string) {
	t.Helper()
	dir := t.TempDir()
	fake := fakecp.Start(t, fakecp.Config{Dir: dir})
	in := func(name string) string { return filepath.Join(dir, name) }
	source, err := identity.NewFiles(identity.FilesConfig{CA: in("ca.pem"), Cert: in("cert.pem"),
		Key: in("key.pem")})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := chassis.Dial(chassis.DialConfig{Address: fake.Address(),
		TLS: identity.ClientConfig{Source: source, Expect: identity.ControlPlane()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	answer, err := cpv1.NewServerServiceClient(conn).CreateReplica(t.Context(),
		&cpv1.CreateReplicaRequest{Name: "servers/" + server, Primary: "servers/db1"})
	if err != nil {
		t.Fatal(err)
	}
	return fake, cpv1.NewJobServiceClient(conn), answer.GetJob().GetName()
}

func TestFollowsToTheEnd(t *testing.T) {
	t.Parallel()
	for server, want := range map[string]cpv1.Job_State{
		"db9": cpv1.Job_STATE_SUCCEEDED, "fails1": cpv1.Job_STATE_FAILED,
		"parks1": cpv1.Job_STATE_ACTION_REQUIRED,
	} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			_, client, name := start(t, server)
			w := &heard{}
			job, err := follow.Job(t.Context(),
				follow.Config{Client: client, Name: name, Watcher: w})
			if err != nil || job.GetState() != want {
				t.Fatalf("%v %v", job.GetState(), err)
			}
			if w.jobs.Load() < 3 || w.lost.Load() != 0 {
				t.Errorf("heard %d times of the job, %d times that it was lost", w.jobs.Load(),
					w.lost.Load())
			}
		})
	}
}

func TestGoesOnWhenTheControlPlaneWasKilled(t *testing.T) {
	t.Parallel()
	fake, client, name := start(t, "hangs-no-more")
	w := &heard{}
	killed := false
	w.onJob = func(job *cpv1.Job) {
		if !killed && job.GetState() == cpv1.Job_STATE_WAITING {
			killed = true
			fake.Kill()
		}
	}
	w.onLost = func() {
		if err := fake.Back(); err != nil {
			t.Error(err)
		}
		fake.Unhang(name)
	}
	job, err := follow.Job(t.Context(), follow.Config{Client: client, Name: name, Watcher: w})
	if err != nil || job.GetState() != cpv1.Job_STATE_SUCCEEDED {
		t.Fatalf("%v %v", job.GetState(), err)
	}
	if w.lost.Load() != 1 || w.back.Load() != 1 {
		t.Errorf("lost %d times, back %d times", w.lost.Load(), w.back.Load())
	}
}

func TestGivesUpAfterTheLimit(t *testing.T) {
	t.Parallel()
	fake, client, name := start(t, "hangs1")
	w := &heard{onJob: func(*cpv1.Job) { go fake.Kill() }}
	began := time.Now()
	job, err := follow.Job(t.Context(), follow.Config{Client: client, Name: name, Watcher: w,
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
	fake, client, name := start(t, "db9")
	fake.Kill()
	job, err := follow.Job(t.Context(),
		follow.Config{Client: client, Name: name, Watcher: &heard{}})
	if job != nil || errs.KindOf(err) != errs.Unavailable {
		t.Fatalf("%v %v", job, err)
	}
}

func TestNoSuchJob(t *testing.T) {
	t.Parallel()
	_, client, _ := start(t, "db9")
	_, err := follow.Job(t.Context(), follow.Config{Client: client, Name: "jobs/nosuch",
		Watcher: &heard{}})
	if errs.KindOf(err) != errs.NotFound {
		t.Fatal(err)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	t.Parallel()
	_, client, name := start(t, "hangs1")
	ctx, cancel := context.WithCancel(t.Context())
	w := &heard{onJob: func(job *cpv1.Job) {
		if job.GetState() == cpv1.Job_STATE_WAITING {
			cancel()
		}
	}}
	if _, err := follow.Job(ctx,
		follow.Config{Client: client, Name: name, Watcher: w}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
