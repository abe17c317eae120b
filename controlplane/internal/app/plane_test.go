package app_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/controlplane/internal/app/apptest"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// plane is a whole control plane in a world whose machines never come up, so that jobs wait, and an
// operator's connection to it.
type plane struct {
	*apptest.Plane
	t    testing.TB
	conn *grpc.ClientConn
	proc *workflowtest.Process // that it runs in, of planeOf
}

func newPlane(t testing.TB) *plane {
	t.Helper()
	return startPlane(t, t.TempDir(), stillWorld(t))
}

func stillWorld(t testing.TB) *workflowtest.World {
	w := workflowtest.Outside(t)
	w.Cloud.Still = true
	return w
}

func startPlane(t testing.TB, dir string, w *workflowtest.World) *plane {
	t.Helper()
	// The servers of these tests have no host, and stay as they are recorded.
	patient := map[string]any{"unreachable_after": "1h"}
	p := &plane{t: t, Plane: apptest.Start(t, w.Process(), apptest.Settings(t, dir, patient))}
	p.conn = p.Dial(apptest.Operator(t, dir))
	return p
}

// changes is how often the provider was changed.
func (p *plane) changes() int { return p.World.Mark() }

func (p *plane) servers() cpv1.ServerServiceClient {
	return cpv1.NewServerServiceClient(
		p.conn)
}
func (p *plane) snapshots() cpv1.SnapshotServiceClient {
	return cpv1.NewSnapshotServiceClient(
		p.conn)
}
func (p *plane) jobs() cpv1.JobServiceClient { return cpv1.NewJobServiceClient(p.conn) }

// write changes records directly, as a job would.
func (p *plane) write(fn func(ctx context.Context, tx *store.Tx) error) {
	p.t.Helper()
	if err := p.Store().Write(p.t.Context(), fn); err != nil {
		p.t.Fatal(err)
	}
}

// addServer records a server that is READY, as a replica when it has a primary.
func (p *plane) addServer(name, primary string) {
	p.t.Helper()
	p.write(func(ctx context.Context, tx *store.Tx) error {
		id, err := tx.ServerIDs().Allocate(ctx, name)
		if err != nil {
			return err
		}
		s := inventory.Server{Name: name, State: inventory.ServerReady, Role: inventory.RolePrimary,
			ServerID: id, Port: 3306, Provider: "sim"}
		if primary != "" {
			s.Role, s.Primary, s.ReplicationConfigured = inventory.RoleReplica, primary, true
		}
		return tx.Servers().Insert(ctx, &s)
	})
}

// until waits until the job is as wanted.
func (p *plane) until(name string, want func(*cpv1.Job) bool) *cpv1.Job {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	defer cancel()
	stream, err := p.jobs().WatchJob(ctx, &cpv1.WatchJobRequest{Name: name})
	if err != nil {
		p.t.Fatal(err)
	}
	var last *cpv1.Job
	for {
		message, err := stream.Recv()
		if err != nil {
			p.t.Fatalf("%s never was as wanted, but %v: %v", name, last, err)
		}
		if last = message.GetJob(); want(last) {
			return last
		}
	}
}

func inState(state cpv1.Job_State) func(*cpv1.Job) bool {
	return func(j *cpv1.Job) bool { return j.GetState() == state }
}

// refused fails the test unless the error is of that kind, with that reason and a hint.
func refused(t *testing.T, err error, kind errs.Kind, reason errorsv1.Reason) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %v (%v)", kind, reason)
	}
	if errs.KindOf(err) != kind || reason != 0 && errs.ReasonOf(err) != reason {
		t.Errorf("%v (%v): %v; want %v (%v)", errs.KindOf(err), errs.ReasonOf(err), err, kind,
			reason)
	}
	if kind != errs.InvalidArgument && errs.HintOf(err).String() == "" {
		t.Errorf("no hint: %v", err)
	}
}
