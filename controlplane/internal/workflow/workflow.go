// Package workflow has the kinds of jobs that there are, one package a family. Each kind is a value
// of its own package; this one wires them together, as no family imports a sibling.
package workflow

import (
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/machine"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/provision"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/purge"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/remove"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/replicate"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/rotate"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/snapshot"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/verify"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Reconnect are the calls that set the connection of a replica up again which that job made.
func Reconnect(jobID string) []errs.Action { return replicate.Reconnect(jobID) }

// Remount are the calls that mount the volume of a server again which that job made.
func Remount(jobID string) []errs.Action { return provision.Remount(jobID) }

// New makes a kit with all kinds of jobs.
func New(cfg kit.Config) (*kit.Kit, error) {
	k, err := kit.New(cfg)
	if err != nil {
		return nil, err
	}
	parts := replicate.Parts{
		Snapshot: snapshot.Steps(), Sections: snapshot.Sections(), DropSnapshot: snapshot.Drop,
		Machine: provision.MachineSteps(), Swap: provision.SwapStep,
		Copy: provision.CopySteps(), DropReplaced: provision.DropReplaced,
		DropAbandoned: provision.DropAbandoned,
		Compare:       verify.Compare, WouldCompare: verify.Describe,
		Cleanup: slices.Concat(remove.Snapshot(), remove.Server()), RemoveRest: remove.Rest,
	}
	k.Register(
		provision.CreatePrimary(remove.Server(), remove.Rest),
		snapshot.TakeSnapshot(remove.Snapshot()),
		replicate.CreateReplica(parts), replicate.RebuildReplica(parts),
		verify.Replica(), purge.Binlogs(), rotate.Credentials(),
		machine.GrowServer(), machine.RebootServer(), machine.StopServer(),
		machine.StartServer(),
		remove.DeleteServer(), remove.DeleteSnapshot(),
	)
	return k, nil
}
