package kit

import (
	"cmp"
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// MachineFit is the error of a server whose machine is gone for good. One that somebody switched
// off while this job makes the server is switched on again.
func (c *Call) MachineFit(ctx context.Context, srv inventory.Server) error {
	m, err := c.Provider.GetMachine(ctx, srv.MachineID)
	if wait := machineNotShownYet(ctx, c, err, srv); wait != nil {
		return wait
	}
	switch {
	case Missing(err):
		return c.MachineGone(ctx, provider.Machine{ID: srv.MachineID}, srv)
	case err != nil:
		return err
	case m.State == provider.MachineTerminated:
		return c.MachineGone(ctx, m, srv)
	case m.State == provider.MachineStopped && srv.Job == c.JobID && !srv.InService():
		if err := c.Provider.StartMachine(ctx, m.ID); err != nil {
			return err
		}
		c.Changed("switched machine %s on", m.ID)
	}
	return nil
}

// machineNotShownYet is the wait for a machine on record that the provider may show late; nil: it
// is shown, or gone. Its age is that of the step that made it.
func machineNotShownYet(ctx context.Context, c *Call, err error, srv inventory.Server) error {
	if !Missing(err) {
		return nil
	}
	j, unread := c.Jobs.Get(ctx, srv.Job)
	if unread != nil && !Missing(unread) {
		return unread
	}
	making, there := j.Step(StepCreateMachine)
	if !there {
		return nil
	}
	made := making.Finished
	if made.IsZero() {
		made = making.Started
	}
	return NotShownYet(c, err, "machine "+srv.MachineID, made)
}

// MachineGone is the error of a machine that ended without this project's doing.
func (c *Call) MachineGone(ctx context.Context, m provider.Machine, srv inventory.Server) error {
	hint := Hint("have another made, or remove the rest",
		errs.Call("RedoStep", "name", "jobs/"+srv.Job, "step", StepCreateMachine), c.Remove(srv))
	switch makesMachine := c.makesMachine(ctx, srv.Job); {
	case !makesMachine:
		hint = Hint("remove the rest, then make it again", c.Remove(srv))
	case srv.Job == c.JobID:
		hint.Actions[0] = RedoThis(StepCreateMachine)
	}
	reason := cmp.Or(m.Reason, "no reason given")
	if m.Failed {
		return Refuse(errorsv1.Reason_REASON_MACHINE_GONE, hint,
			"the provider itself ended machine %s of %s: %s", m.ID, srv.Name, reason)
	}
	return Refuse(errorsv1.Reason_REASON_MACHINE_GONE, hint,
		"machine %s of %s was terminated by somebody else: %s", m.ID, srv.Name, reason)
}

// makesMachine reports whether the job has the step that makes a server's machine.
func (k *Kit) makesMachine(ctx context.Context, jobID string) bool {
	j, err := k.Jobs.Get(ctx, jobID)
	_, there := j.Step(StepCreateMachine)
	return err == nil && there
}

// NeedsMachine refuses a step that is run alone before there is a machine.
func NeedsMachine(srv inventory.Server) error {
	if srv.MachineID != "" {
		return nil
	}
	return Refuse(errorsv1.Reason_REASON_MACHINE_GONE,
		Hint("run create_machine first", RetryThis()),
		"%s has no machine on record", srv.Name)
}

// WhyAway is the error of an agent that will never answer, as its machine is gone; nil when waiting
// for it makes sense.
func (c *Call) WhyAway(ctx context.Context, why error) error {
	if !IsReason(why, errorsv1.Reason_REASON_AGENT_UNREACHABLE) {
		return nil
	}
	srv, err := c.Server(ctx, errs.MetaOf(why)["server"])
	if err == nil && srv.MachineID != "" {
		err = c.MachineFit(ctx, srv)
	}
	if IsReason(err, errorsv1.Reason_REASON_MACHINE_GONE) {
		return err
	}
	return nil
}

// whyStopped is the error of an agent that does not answer because its server is STOPPED; nil when
// waiting for it makes sense.
func (c *Call) whyStopped(ctx context.Context, why error) error {
	if !IsReason(why, errorsv1.Reason_REASON_AGENT_UNREACHABLE) {
		return nil
	}
	srv, err := c.Record(ctx, errs.MetaOf(why)["server"])
	if err == nil && srv.State == inventory.ServerStopped {
		return srv.IsStopped()
	}
	return nil
}

// WentWithMachine reports whether what was to be removed on a server went with its machine.
func (c *Call) WentWithMachine(ctx context.Context, why error) bool {
	gone := c.WhyAway(ctx, why)
	if gone != nil {
		c.Found("%v", gone)
	}
	return gone != nil
}

// Replaces reports whether the attached volume is one that the server's own takes the place of: the
// image's default one, or one that this step made in an earlier generation.
func (c *Call) Replaces(v provider.Volume) bool {
	ours := v.Tags[TagJob] == c.JobID
	if v.Tags[TagRole] == RoleData {
		return ours && v.Tags[TagStep] != c.EffectKey
	}
	return v.Default || ours && v.Tags[TagRole] == RoleDefault
}

// VolumeGone records that a volume is gone.
func VolumeGone(ctx context.Context, rec Records, id string) error {
	if id == "" {
		return nil
	}
	vol, err := rec.Volumes.Get(ctx, id)
	if Missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	vol.State, vol.MachineID = inventory.VolumeDeleted, ""
	return rec.Volumes.Update(ctx, &vol)
}

// Image is the named one, or the provider's default.
func (k *Kit) Image(ctx context.Context, name string) (provider.Image, error) {
	images, err := k.Provider.Images(ctx)
	if err != nil {
		return provider.Image{}, err
	}
	var names []string
	for _, image := range images {
		if image.Name == name && image.Problem != "" {
			return image, Refuse(errorsv1.Reason_REASON_INVALID_FIELD,
				Hint("see all that the provider needs", errs.Call("CheckProvider")),
				"no machine can be made: %s", image.Problem)
		}
		if image.Name == name || name == "" && image.Ready && image.Problem == "" {
			return image, nil
		}
		names = append(names, image.Name)
	}
	if name == "" {
		return provider.Image{}, Refuse(errorsv1.Reason_REASON_NOT_FOUND,
			Hint("have one made first, as docs/providers.md says",
				errs.Call("ListImages")),
			"the provider has no image that is ready")
	}
	return provider.Image{},
		Refuse(errorsv1.Reason_REASON_NOT_FOUND, Hint("name one of: "+SomeOf(names, 20)),
			"there is no image %q", name)
}

// FoundImage tells which image is used.
func (c *Call) FoundImage(image provider.Image) {
	c.Found("image %s, MariaDB %s", image.Name,
		cmp.Or(image.MariaDBVersion, "of a version not known yet"))
}

// CheckVersions refuses a datadir of a newer series than the binary, as far as both are known.
func CheckVersions(datadir, binary string) error {
	if order, ok := replication.CompareSeries(datadir, binary); ok && order > 0 {
		return Refuse(errorsv1.Reason_REASON_DATADIR_NEWER,
			Hint("use an image with MariaDB "+replication.Series(datadir)+" or newer"),
			"the datadir is of MariaDB %s, the binary is %s: a datadir never goes back", datadir,
			binary)
	}
	return nil
}

// CheckLog refuses a copy of a MariaDB that was not stopped for it, or is not going to be, when the
// binary cannot recover its log: InnoDB reads a log of another format only when it is empty.
func CheckLog(copied, binary string, mode inventory.SnapshotMode) error {
	from, known := replication.LogFormat(copied)
	to, knows := replication.LogFormat(binary)
	if mode == inventory.ModeOffline || !known || !knows || from == to {
		return nil
	}
	return Refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
		Hint("take the snapshot with --mode offline, which stops MariaDB, or use MariaDB "+
			replication.Series(copied)+" for the replica and upgrade it later"),
		"the copy is of a running MariaDB %s, whose InnoDB log MariaDB %s cannot recover: its "+
			"format has changed", copied, binary)
}
