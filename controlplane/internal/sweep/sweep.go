// Package sweep finds what jobs left behind at the provider, and removes it when it is asked to.
//
// What counts as left behind carries the tags of this fleet and of a job that this control plane
// has on record as ended, and is named by no record. A job that is not on record may be another
// control plane's: its things are never touched.
package sweep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Cloud is what is needed of a provider.
type Cloud interface {
	// ListMachines lists machines.
	ListMachines(ctx context.Context, filter provider.Filter) ([]provider.Machine, error)
	// ListVolumes lists volumes.
	ListVolumes(ctx context.Context, filter provider.Filter) ([]provider.Volume, error)
	// ListSnapshots lists snapshots.
	ListSnapshots(ctx context.Context, filter provider.Filter) ([]provider.Snapshot, error)
	// TerminateMachine ends a machine.
	TerminateMachine(ctx context.Context, id string) error
	// DeleteVolume deletes a volume.
	DeleteVolume(ctx context.Context, id string) error
	// DeleteSnapshot deletes a snapshot.
	DeleteSnapshot(ctx context.Context, id string) error
}

// Jobs are the jobs on record.
type Jobs interface {
	// Get reads one job, or answers errs.NotFound.
	Get(ctx context.Context, id string) (job.Job, error)
}

// Owners knows which record names an object of the provider.
type Owners interface {
	// Owners are the names of resources by the provider's id.
	Owners(ctx context.Context) (map[string]string, error)
}

// Audit keeps who removed what.
type Audit interface {
	// Swept notes that a thing was removed that a job left behind. The kind is "machine",
	// "volume" or "snapshot".
	Swept(ctx context.Context, who, kind, id, job string) error
}

// Config is what a sweeper needs; all of it is required but Log.
type Config struct {
	Cloud  Cloud
	Jobs   Jobs
	Owners Owners
	Audit  Audit
	Fleet  string
	// Log gets a line for each thing that is removed; default none.
	Log *slog.Logger
}

// Sweeper removes what was left behind.
type Sweeper struct{ cfg Config }

// New makes a sweeper.
func New(cfg Config) (*Sweeper, error) {
	if cfg.Cloud == nil || cfg.Jobs == nil || cfg.Owners == nil || cfg.Audit == nil ||
		cfg.Fleet == "" {
		return nil, errors.New(
			"cannot make a sweeper: cloud, jobs, owners, audit and fleet are needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Sweeper{cfg}, nil
}

// Leftovers are objects of the provider that no record names.
type Leftovers struct {
	Machines  []provider.Machine
	Volumes   []provider.Volume
	Snapshots []provider.Snapshot
}

// IDs are the provider's ids of all of them.
func (l Leftovers) IDs() []string {
	var ids []string
	for _, m := range l.Machines {
		ids = append(ids, m.ID)
	}
	for _, v := range l.Volumes {
		ids = append(ids, v.ID)
	}
	for _, s := range l.Snapshots {
		ids = append(ids, s.ID)
	}
	return ids
}

// Find lists what was left behind. The provider is read first and the records last: a job that ends
// in between has then written what it owns.
func (s *Sweeper) Find(ctx context.Context) (Leftovers, error) {
	fleet := provider.Filter{Tags: map[string]string{kit.TagFleet: s.cfg.Fleet}}
	machines, err := s.cfg.Cloud.ListMachines(ctx, fleet)
	if err != nil {
		return Leftovers{}, err
	}
	volumes, err := s.cfg.Cloud.ListVolumes(ctx, fleet)
	if err != nil {
		return Leftovers{}, err
	}
	snapshots, err := s.cfg.Cloud.ListSnapshots(ctx, fleet)
	if err != nil {
		return Leftovers{}, err
	}
	ended := map[string]bool{}
	for _, tags := range tagsOf(machines, volumes, snapshots) {
		if err := s.look(ctx, tags[kit.TagJob], ended); err != nil {
			return Leftovers{}, err
		}
	}
	owners, err := s.cfg.Owners.Owners(ctx)
	if err != nil {
		return Leftovers{}, err
	}
	return sift(machines, volumes, snapshots, ended, owners), nil
}

func tagsOf(machines []provider.Machine, volumes []provider.Volume,
	snapshots []provider.Snapshot) []map[string]string {
	var all []map[string]string
	for _, m := range machines {
		all = append(all, m.Tags)
	}
	for _, v := range volumes {
		all = append(all, v.Tags)
	}
	for _, s := range snapshots {
		all = append(all, s.Tags)
	}
	return all
}

// look finds out whether a job is on record and has ended.
func (s *Sweeper) look(ctx context.Context, id string, ended map[string]bool) error {
	if _, known := ended[id]; known || id == "" {
		return nil
	}
	j, err := s.cfg.Jobs.Get(ctx, id)
	if err != nil && !errors.Is(err, errs.NotFound) {
		return err
	}
	ended[id] = err == nil && j.State.Ended()
	return nil
}

func sift(machines []provider.Machine, volumes []provider.Volume, snapshots []provider.Snapshot,
	ended map[string]bool, owners map[string]string) Leftovers {
	var left Leftovers
	loose := func(id string, tags map[string]string) bool {
		return owners[id] == "" &&
			ended[tags[kit.TagJob]]
	}
	going := map[string]bool{}
	for _, m := range machines {
		switch {
		case m.State == provider.MachineTerminated:
			going[m.ID] = true
		case loose(m.ID, m.Tags):
			going[m.ID] = true
			left.Machines = append(left.Machines, m)
		}
	}
	for _, v := range volumes {
		withMachine := v.MachineID != "" && (v.DeleteOnTermination || !going[v.MachineID])
		if loose(v.ID, v.Tags) && !withMachine && v.State != provider.VolumeDeleting &&
			v.State != provider.VolumeDeleted {
			left.Volumes = append(left.Volumes, v)
		}
	}
	for _, s := range snapshots {
		if loose(s.ID, s.Tags) {
			left.Snapshots = append(left.Snapshots, s)
		}
	}
	return left
}

// ErrNotLeft says that something is there, and is not left behind.
var ErrNotLeft = errors.New(
	"is not left behind: it is in use by a record or a job, or is not this fleet's")

// Sweep removes those of the ids that are left behind, and gives what it removed and what is still
// in use by a machine that goes. Nothing is removed when one of the ids is there and not left
// behind (ErrNotLeft); what is gone already is passed over.
func (s *Sweeper) Sweep(ctx context.Context, who string,
	ids []string) (removed Leftovers, busy []string, err error) {
	left, err := s.Find(ctx)
	if err != nil {
		return removed, nil, err
	}
	known := left.IDs()
	for _, id := range ids {
		if slices.Contains(known, id) {
			continue
		}
		if there, err := s.isThere(ctx, id); err != nil || there {
			return removed, nil, errors.Join(err, fmt.Errorf("%.80q %w", id, ErrNotLeft))
		}
	}
	for _, m := range left.Machines {
		if slices.Contains(ids, m.ID) {
			if err := s.remove(ctx, who, "machine", m.ID, m.Tags,
				s.cfg.Cloud.TerminateMachine(ctx, m.ID)); err != nil {
				return removed, busy, err
			}
			removed.Machines = append(removed.Machines, m)
		}
	}
	for _, v := range left.Volumes {
		if !slices.Contains(ids, v.ID) {
			continue
		}
		err := s.remove(ctx, who, "volume", v.ID, v.Tags, s.cfg.Cloud.DeleteVolume(ctx, v.ID))
		switch {
		case errors.Is(err, provider.ErrInUse) || errors.Is(err, provider.ErrIncorrectState):
			busy = append(busy, v.ID)
		case err != nil:
			return removed, busy, err
		default:
			removed.Volumes = append(removed.Volumes, v)
		}
	}
	for _, shot := range left.Snapshots {
		if slices.Contains(ids, shot.ID) {
			if err := s.remove(ctx, who, "snapshot", shot.ID, shot.Tags,
				s.cfg.Cloud.DeleteSnapshot(ctx, shot.ID)); err != nil {
				return removed, busy, err
			}
			removed.Snapshots = append(removed.Snapshots, shot)
		}
	}
	return removed, busy, nil
}

// remove tells of a removal; what is gone already is as good.
func (s *Sweeper) remove(ctx context.Context, who, kind, id string, tags map[string]string,
	err error) error {
	if err != nil && !errors.Is(err, provider.ErrNotFound) {
		return fmt.Errorf("cannot remove %s %s: %w", kind, id, err)
	}
	s.cfg.Log.Info("removed what a job left behind", "kind", kind, "id", id)
	if err := s.cfg.Audit.Swept(ctx, who, kind, id, tags[kit.TagJob]); err != nil {
		return fmt.Errorf("%s %s was removed, but the audit cannot be written: %w", kind, id, err)
	}
	return nil
}

// isThere looks for an id that is not left behind among all that the provider shows.
func (s *Sweeper) isThere(ctx context.Context, id string) (bool, error) {
	machines, err := s.cfg.Cloud.ListMachines(ctx, provider.Filter{})
	if err != nil {
		return false, err
	}
	volumes, err := s.cfg.Cloud.ListVolumes(ctx, provider.Filter{})
	if err != nil {
		return false, err
	}
	snapshots, err := s.cfg.Cloud.ListSnapshots(ctx, provider.Filter{})
	if err != nil {
		return false, err
	}
	machines = slices.DeleteFunc(machines,
		func(m provider.Machine) bool { return m.State == provider.MachineTerminated })
	volumes = slices.DeleteFunc(volumes,
		func(v provider.Volume) bool { return v.State == provider.VolumeDeleting })
	return slices.Contains(Leftovers{machines, volumes, snapshots}.IDs(), id), nil
}
