package workflowtest

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/machine"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/provision"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/purge"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/remove"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/replicate"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/rotate"
	snapshots "github.com/understudy-db/understudy/controlplane/internal/workflow/snapshot"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/verify"
)

// Asked is what a test asks for: the arguments of a kind, as far as tests set them.
type Asked interface {
	// Args are the arguments of the kind.
	Args() kit.Args
}

// Primary asks for a primary.
type Primary struct {
	Server    string
	AutoPurge bool
	Cleanup   bool
}

// Args are the arguments of the kind.
func (p Primary) Args() kit.Args {
	return provision.Args{ServerArgs: kit.ServerArgs{Server: p.Server, Cleanup: p.Cleanup},
		AutoPurge: p.AutoPurge}
}

// Replica asks for a replica.
type Replica struct {
	Server, Source, Snapshot, Image, Zone string

	VolumeBytes int64
	Mode        inventory.SnapshotMode
	Verify      inventory.VerifyLevel
	Cleanup     bool
	Options     map[string]string
}

// Args are the arguments of the kind.
func (r Replica) Args() kit.Args {
	return replicate.Args{Verify: r.Verify, MakeArgs: kit.MakeArgs{
		ServerArgs: kit.ServerArgs{Server: r.Server, Image: r.Image, Zone: r.Zone,
			VolumeBytes: r.VolumeBytes, Cleanup: r.Cleanup, Options: r.Options},
		SnapshotArgs: kit.SnapshotArgs{Source: r.Source, Snapshot: r.Snapshot, Mode: r.Mode},
	}}
}

// Rebuild asks to make a replica again.
type Rebuild struct {
	Server, Snapshot, Etag string
	Verify                 inventory.VerifyLevel
}

// Args are the arguments of the kind.
func (r Rebuild) Args() kit.Args {
	return replicate.RebuildArgs{Etag: r.Etag, Args: replicate.Args{Verify: r.Verify,
		MakeArgs: kit.MakeArgs{ServerArgs: kit.ServerArgs{Server: r.Server},
			SnapshotArgs: kit.SnapshotArgs{Snapshot: r.Snapshot}}}}
}

// SnapshotOf asks for a snapshot of a server.
type SnapshotOf struct {
	Source       string
	Mode         inventory.SnapshotMode
	QuiesceLimit time.Duration
}

// Args are the arguments of the kind.
func (s SnapshotOf) Args() kit.Args {
	return snapshots.Args{SnapshotArgs: kit.SnapshotArgs{Source: s.Source, Mode: s.Mode,
		QuiesceLimit: s.QuiesceLimit}}
}

// Deletion asks for the deletion of a server.
type Deletion struct{ Server, Etag string }

// Args are the arguments of the kind.
func (d Deletion) Args() kit.Args { return remove.ServerArgs{Server: d.Server, Etag: d.Etag} }

// SnapshotDeletion asks for the deletion of a snapshot.
type SnapshotDeletion struct{ Snapshot string }

// Args are the arguments of the kind.
func (d SnapshotDeletion) Args() kit.Args { return remove.SnapshotArgs{Snapshot: d.Snapshot} }

// Verification asks to verify a replica again.
type Verification struct {
	Replica string
	Level   inventory.VerifyLevel
}

// Args are the arguments of the kind.
func (v Verification) Args() kit.Args { return verify.Args{Replica: v.Replica, Level: v.Level} }

// Rotation asks for new credentials of a replica.
type Rotation struct{ Replica string }

// Args are the arguments of the kind.
func (r Rotation) Args() kit.Args { return rotate.Args{Replica: r.Replica} }

// Purging asks to purge binary logs.
type Purging struct {
	Server  string
	Ignored []string
}

// Args are the arguments of the kind.
func (p Purging) Args() kit.Args { return purge.Args{Server: p.Server, Ignored: p.Ignored} }

// Request is what the engine is asked for.
func (p *Process) Request(ctx context.Context, what Asked) (job.Request, error) {
	_, req, err := p.Flow.Resolve(ctx, kit.Request{Args: what.Args(), Who: "tester"})
	return req, err
}

// Confirmed is a request on a job by an operator who agrees to lose a server's data.
func (w *World) Confirmed(server string) job.ChangeRequest {
	return job.ChangeRequest{Who: "tester", Reason: "to see", Confirm: job.Confirm{
		Name: inventory.ServerSubject(server), Etag: w.Server(server).Etag()}}
}

// Growth asks for a larger volume.
type Growth struct {
	Server string
	Bytes  int64
}

// Args are the arguments of the kind.
func (g Growth) Args() kit.Args { return machine.GrowArgs{Server: g.Server, SizeBytes: g.Bytes} }

// Reboot asks to restart a server's machine.
type Reboot struct {
	Server       string
	AllowPrimary bool
}

// Args are the arguments of the kind.
func (r Reboot) Args() kit.Args {
	return machine.RebootArgs{PowerArgs: machine.PowerArgs{Server: r.Server,
		AllowPrimary: r.AllowPrimary}}
}

// Stop asks to switch a server's machine off.
type Stop struct {
	Server       string
	AllowPrimary bool
}

// Args are the arguments of the kind.
func (s Stop) Args() kit.Args {
	return machine.StopArgs{PowerArgs: machine.PowerArgs{Server: s.Server,
		AllowPrimary: s.AllowPrimary}}
}

// Start asks to switch a server's machine on.
type Start struct{ Server string }

// Args are the arguments of the kind.
func (s Start) Args() kit.Args {
	return machine.StartArgs{PowerArgs: machine.PowerArgs{Server: s.Server}}
}
