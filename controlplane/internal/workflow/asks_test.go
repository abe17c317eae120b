package workflow_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/provision"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/remove"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/replicate"
	snapshots "github.com/understudy-db/understudy/controlplane/internal/workflow/snapshot"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/verify"
)

// asked is what a test asks for: the arguments of a kind, as far as tests set them.
type asked interface{ args() kit.Args }

type primary struct {
	Server    string
	AutoPurge bool
}

func (p primary) args() kit.Args {
	return provision.Args{ServerArgs: kit.ServerArgs{Server: p.Server}, AutoPurge: p.AutoPurge}
}

type replica struct {
	Server, Source, Snapshot, Image, Zone string

	VolumeBytes int64
	Verify      inventory.VerifyLevel
	Cleanup     bool
	Options     map[string]string
}

func (r replica) args() kit.Args {
	return replicate.Args{Verify: r.Verify, MakeArgs: kit.MakeArgs{
		ServerArgs: kit.ServerArgs{Server: r.Server, Image: r.Image, Zone: r.Zone,
			VolumeBytes: r.VolumeBytes, Cleanup: r.Cleanup, Options: r.Options},
		SnapshotArgs: kit.SnapshotArgs{Source: r.Source, Snapshot: r.Snapshot},
	}}
}

type snapshotOf struct {
	Source       string
	Mode         inventory.SnapshotMode
	QuiesceLimit time.Duration
}

func (s snapshotOf) args() kit.Args {
	return snapshots.Args{SnapshotArgs: kit.SnapshotArgs{Source: s.Source, Mode: s.Mode,
		QuiesceLimit: s.QuiesceLimit}}
}

type deletion struct{ Server, Etag string }

func (d deletion) args() kit.Args { return remove.ServerArgs{Server: d.Server, Etag: d.Etag} }

type snapshotDeletion struct{ Snapshot string }

func (d snapshotDeletion) args() kit.Args { return remove.SnapshotArgs{Snapshot: d.Snapshot} }

type verification struct {
	Replica string
	Level   inventory.VerifyLevel
}

func (v verification) args() kit.Args { return verify.Args{Replica: v.Replica, Level: v.Level} }

// snapshotIn is the id of the snapshot that a job is about.
func snapshotIn(t testing.TB, j job.Job) string {
	t.Helper()
	var args kit.SnapshotArgs
	if err := json.Unmarshal(j.Args, &args); err != nil {
		t.Fatal(err)
	}
	return args.Snapshot
}

// request is what the engine is asked for.
func (p *process) request(ctx context.Context, what asked) (job.Request, error) {
	_, req, err := p.flow.Resolve(ctx, kit.Request{Args: what.args(), Who: "tester"})
	return req, err
}

func TestArgsRefuseAllThatIsWrongAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start()
	for name, c := range map[string]struct {
		what  asked
		parts []string
	}{
		"a replica": {replica{Server: "No", Verify: "maybe", VolumeBytes: 5},
			[]string{"name", "verify", "primary", "volume_size_bytes"}},
		"a snapshot": {snapshotOf{Source: "db1", Mode: "SLOW", QuiesceLimit: 1},
			[]string{"mode", "quiesce_limit"}},
	} {
		_, err := p.request(t.Context(), c.what)
		for _, part := range c.parts {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %s is not in: %v", name, part, err)
			}
		}
	}
}

// confirmed is a request on a job by an operator who agrees to lose a server's data.
func (w *world) confirmed(server string) job.ChangeRequest {
	return job.ChangeRequest{Who: "tester", Reason: "to see", Confirm: job.Confirm{
		Name: inventory.ServerSubject(server), Etag: w.server(server).Etag()}}
}
