package sweep_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/sweep"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// cloud has things and remembers what was removed.
type cloud struct {
	machines  []provider.Machine
	volumes   []provider.Volume
	snapshots []provider.Snapshot
	removed   []string
	audited   []string
}

func (c *cloud) Swept(_ context.Context, who, kind, id, job string) error {
	c.audited = append(c.audited, who+" "+kind+" "+id+" of "+job)
	return nil
}

func keep[T any](all []T, f provider.Filter, tags func(T) map[string]string) []T {
	return slices.DeleteFunc(slices.Clone(all), func(t T) bool { return !f.Matches(tags(t)) })
}

func (c *cloud) ListMachines(_ context.Context, f provider.Filter) ([]provider.Machine, error) {
	return keep(c.machines, f, func(m provider.Machine) map[string]string { return m.Tags }), nil
}

func (c *cloud) ListVolumes(_ context.Context, f provider.Filter) ([]provider.Volume, error) {
	return keep(c.volumes, f, func(v provider.Volume) map[string]string { return v.Tags }), nil
}

func (c *cloud) ListSnapshots(_ context.Context, f provider.Filter) ([]provider.Snapshot, error) {
	return keep(c.snapshots, f, func(s provider.Snapshot) map[string]string { return s.Tags }), nil
}

func (c *cloud) TerminateMachine(_ context.Context, id string) error { return c.remove(id) }
func (c *cloud) DeleteSnapshot(_ context.Context, id string) error   { return c.remove(id) }
func (c *cloud) DeleteVolume(_ context.Context, id string) error {
	for _, v := range c.volumes {
		if v.ID == id && v.MachineID != "" {
			return provider.Errorf(provider.ErrInUse, id, "attached")
		}
	}
	return c.remove(id)
}

func (c *cloud) remove(id string) error {
	c.removed = append(c.removed, id)
	return nil
}

type jobs map[string]job.State

func (j jobs) Get(_ context.Context, id string) (job.Job, error) {
	state, ok := j[id]
	if !ok {
		return job.Job{}, errs.NotFound
	}
	return job.Job{ID: id, State: state}, nil
}

type owners map[string]string

func (o owners) Owners(context.Context) (map[string]string, error) { return o, nil }

func tags(fleet, job string) map[string]string {
	return map[string]string{kit.TagFleet: fleet, kit.TagJob: job}
}

func newCloud() *cloud {
	return &cloud{
		machines: []provider.Machine{
			{ID: "i-left", Tags: tags("f", "failed"), State: provider.MachineRunning},
			{ID: "i-owned", Tags: tags("f", "done"), State: provider.MachineRunning},
			{ID: "i-live", Tags: tags("f", "live"), State: provider.MachineRunning},
			{ID: "i-gone", Tags: tags("f", "failed"), State: provider.MachineTerminated},
			{ID: "i-fleet", Tags: tags("other", "failed"), State: provider.MachineRunning},
			{ID: "i-stranger", State: provider.MachineRunning},
			{ID: "i-unknown", Tags: tags("f", "of another control plane"),
				State: provider.MachineRunning},
			{ID: "i-nojob", Tags: map[string]string{kit.TagFleet: "f"}},
			{ID: "i-person", Tags: tags("f", "person"), State: provider.MachineRunning},
		},
		volumes: []provider.Volume{
			{ID: "vol-left", Tags: tags("f", "failed")},
			{ID: "vol-attached", Tags: tags("f", "failed"), MachineID: "i-left"},
			{ID: "vol-goes-with", Tags: tags("f", "failed"), MachineID: "i-left",
				DeleteOnTermination: true},
			{ID: "vol-on-strangers", Tags: tags("f", "failed"), MachineID: "i-stranger"},
			{ID: "vol-owned", Tags: tags("f", "done")},
			{ID: "vol-default", Tags: tags("f", "done"), MachineID: "i-owned", Default: true},
		},
		snapshots: []provider.Snapshot{{ID: "snap-left", Tags: tags("f", "done")},
			{ID: "snap-owned", Tags: tags("f", "done")},
			{ID: "snap-live", Tags: tags("f", "live")}},
	}
}

func newSweeper(t *testing.T, c *cloud) *sweep.Sweeper {
	t.Helper()
	s, err := sweep.New(sweep.Config{Cloud: c, Audit: c, Fleet: "f",
		Jobs: jobs{"failed": job.Failed, "done": job.Succeeded, "live": job.Running,
			"person": job.ActionRequired},
		Owners: owners{"i-owned": "servers/a", "vol-owned": "servers/a",
			"snap-owned": "snapshots/s"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var leftBehind = []string{"i-left", "vol-left", "vol-attached", "snap-left"}

func TestFindsWhatNobodyOwnsAndNothingElse(t *testing.T) {
	t.Parallel()
	left, err := newSweeper(t, newCloud()).Find(t.Context())
	if err != nil || !slices.Equal(left.IDs(), leftBehind) {
		t.Errorf("found %v, %v, not %v", left.IDs(), err, leftBehind)
	}
}

func TestSweepRemovesWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	c := newCloud()
	removed, busy, err := newSweeper(t, c).Sweep(t.Context(), "ann",
		append(leftBehind, "vol-of-yesterday"))
	want := []string{"i-left", "vol-left", "snap-left"}
	if err != nil || !slices.Equal(removed.IDs(), want) || !slices.Equal(c.removed, want) ||
		!slices.Equal(busy, []string{"vol-attached"}) {
		t.Errorf("removed %v (%v), busy %v, %v", removed.IDs(), c.removed, busy, err)
	}
	if want := []string{"ann machine i-left of failed", "ann volume vol-left of failed",
		"ann snapshot snap-left of done"}; !slices.Equal(c.audited, want) {
		t.Errorf("the audit has %q, not %q", c.audited, want)
	}
}

func TestSweepRefusesWhatIsNotLeft(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"i-owned", "i-live", "i-fleet", "i-stranger", "i-unknown",
		"i-nojob", "i-person", "vol-owned", "vol-default", "vol-on-strangers", "snap-owned",
		"snap-live"} {
		c := newCloud()
		if _, _, err := newSweeper(t, c).Sweep(t.Context(), "ann",
			[]string{"vol-left", id}); !errors.Is(err, sweep.ErrNotLeft) ||
			len(c.removed)+len(c.audited) > 0 {
			t.Errorf("%s: %v, removed %v", id, err, c.removed)
		}
	}
}
