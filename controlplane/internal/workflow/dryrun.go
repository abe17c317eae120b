package workflow

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

// Plan says what the job that is asked for would find and do, as a job without an id whose steps
// have what was found and what would be changed. It looks at the provider, the records and the
// source's agent, refuses what the job would refuse, and changes nothing.
func (w *Workflow) Plan(ctx context.Context, ask Ask) (job.Job, error) {
	req, err := w.Request(ctx, ask)
	if err != nil {
		return job.Job{}, err
	}
	if err := w.Preflight(ctx, req); err != nil {
		return job.Job{}, err
	}
	args, _ := req.Args.(Args)
	d := &dryRun{step: &step{Run: &job.Run{JobKind: req.Kind}, w: w, args: args, dry: &lines{}},
		kind: req.Kind}
	if err := d.look(ctx); err != nil {
		return job.Job{}, err
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return job.Job{}, fmt.Errorf("cannot encode the arguments: %w", err)
	}
	made := job.Job{Kind: req.Kind, Title: req.Title, Args: raw, Subjects: req.Subjects,
		Who: req.Who, RequestID: req.RequestID}
	for _, p := range w.plans() {
		if p.kind == req.Kind {
			made.Steps = d.steps(p)
		}
	}
	return made, nil
}

// dryRun is a plan in the making: what was looked at, by step.
type dryRun struct {
	*step
	kind   string
	source *node
	snap   inventory.Snapshot
	vol    inventory.Volume
	image  provider.Image
	found  map[string][]string
}

// look looks at all that can be known beforehand, and refuses what a step would refuse.
func (d *dryRun) look(ctx context.Context) (err error) {
	d.found = map[string][]string{}
	switch d.kind {
	case KindCreatePrimary:
		d.image, err = d.step.image(ctx)
	case KindCreateReplica:
		err = d.lookReplica(ctx)
	case KindTakeSnapshot:
		err = d.lookSource(ctx)
	}
	return err
}

// during runs a look and keeps what it found for the step that it belongs to.
func (d *dryRun) during(kind string, look func() error) error {
	d.dry.found = nil
	err := look()
	d.found[kind] = append(d.found[kind], d.dry.found...)
	return err
}

func (d *dryRun) lookSource(ctx context.Context) (err error) {
	if d.source, err = d.serving(ctx, d.args.Source); err != nil {
		return err
	}
	return d.during("check_primary", func() (err error) {
		d.vol, err = d.checkSource(ctx, d.source)
		return err
	})
}

func (d *dryRun) lookReplica(ctx context.Context) (err error) {
	if d.source, err = d.serving(ctx, d.args.Source); err != nil {
		return err
	}
	if err := d.during("plan", func() error { return d.checkPlan(ctx, d.source) }); err != nil {
		return err
	}
	if d.image, err = d.step.image(ctx); err != nil {
		return err
	}
	if d.args.TakeSnapshot {
		if err := d.lookSource(ctx); err != nil {
			return err
		}
	} else if d.snap, err = d.snapshot(ctx); err != nil {
		return err
	}
	return d.lookVersions()
}

// lookVersions compares the datadir's series with the image's, as far as it is known.
func (d *dryRun) lookVersions() error {
	datadir := copiedVersion(d.snap, d.source)
	if err := checkVersions(datadir, d.image.MariaDBVersion); err != nil {
		return err
	}
	order, ok := replication.CompareSeries(datadir, d.image.MariaDBVersion)
	text := sprintf("the datadir is of MariaDB %s, the image has %s", datadir,
		or(d.image.MariaDBVersion, "a version not known yet"))
	if ok && order == 0 {
		text += ": nothing to upgrade"
	}
	d.found["upgrade_mariadb"] = []string{text}
	return nil
}

// steps are the plan's steps with what was found and what they would change.
func (d *dryRun) steps(p jobPlan) []job.Step {
	var all []job.Step
	for i, s := range p.steps {
		made := job.Step{Seq: i, Kind: s.kind, Title: s.title, Section: s.section, Always: s.always,
			State: job.StepPending, Found: d.found[s.kind]}
		if d.kind == KindCreateReplica && !d.args.TakeSnapshot && takesSnapshot(s.kind) {
			made.State, made.Reason = job.StepSkipped, "snapshot "+d.args.Snapshot+" was given"
		} else {
			made.Changed = d.would(s.kind)
		}
		all = append(all, made)
	}
	return all
}

func takesSnapshot(kind string) bool {
	for _, s := range snapshotSteps() {
		if s.kind == kind {
			return true
		}
	}
	return false
}

// would is what a step would change.
func (d *dryRun) would(kind string) []string {
	if texts := d.wouldSnapshot(kind); texts != nil {
		return texts
	}
	name := d.args.Server
	switch kind {
	case "plan":
		return d.wouldRecord()
	case "create_machine":
		return []string{sprintf("make a machine %s from image %s", name, d.image.Name)}
	case "await_agent":
		return []string{"give its agent an identity, by a one-time token"}
	case "swap_volume":
		return d.wouldSwap()
	case "format_volume":
		return []string{"make " + d.args.Filesystem + " on the blank volume"}
	case "mount_data":
		return []string{sprintf("mount the volume at %s and bind its datadir to %s, by unit files",
			dataMount, datadirPath)}
	case "configure_mariadb":
		return []string{"write one option file: server_id, durability, TLS" +
			d.onReplica(", read-only, no start of replication, no event scheduler")}
	case "initialize_datadir":
		return []string{"make a new datadir"}
	case "start_mariadb":
		return []string{"start MariaDB" +
			d.onReplica(", once, and compare its position with the recorded one")}
	}
	return d.wouldReplicate(kind)
}

func (d *dryRun) onReplica(text string) string {
	if d.kind == KindCreateReplica {
		return text
	}
	return ""
}

func (d *dryRun) wouldRecord() []string {
	all := []string{sprintf("record %s and allot a server_id", d.args.Server)}
	if d.source != nil && d.source.srv.BinlogAutoPurge {
		all = append(all, "turn binlog auto purge of "+d.source.srv.Name+" off: it gets a replica")
	}
	return all
}

func (d *dryRun) wouldSwap() []string {
	var all []string
	if v := d.image.DefaultVolume; v != nil {
		all = append(
			all, sprintf("take the image's default data volume (%s, %s) away and delete it",
				sizeOf(v.SizeBytes), v.Filesystem))
	}
	switch {
	case d.kind == KindCreatePrimary:
		all = append(all, sprintf("make a blank volume of %s and attach it",
			sizeOf(d.args.VolumeBytes)))
	case d.args.TakeSnapshot:
		all = append(all, sprintf("make a volume of %s from the snapshot and attach it",
			sizeOf(max(d.args.VolumeBytes, d.vol.SizeBytes))))
	default:
		all = append(all, sprintf("make a volume of %s from snapshot %s and attach it",
			sizeOf(max(d.args.VolumeBytes, d.snap.SizeBytes)), d.snap.ID))
	}
	return all
}

func (d *dryRun) wouldSnapshot(kind string) []string {
	switch kind {
	case "reserve_binlogs":
		return []string{sprintf("keep the binary logs of %s for %s", d.args.Source, d.args.Reserve)}
	case "hold":
		return []string{sprintf("%s: hold a consistent point on %s for at most %s", d.args.Mode,
			d.args.Source, d.args.HoldLimit)}
	case "cut":
		return []string{sprintf("snapshot volume %s, %s", d.vol.ProviderID,
			sizeOf(d.vol.SizeBytes))}
	case "release":
		return []string{"let go of " + d.args.Source + " and prove that it takes writes"}
	}
	return nil
}

func (d *dryRun) wouldReplicate(kind string) []string {
	name, primary := d.args.Server, d.args.Source
	switch kind {
	case "upgrade_mariadb":
		return d.wouldUpgrade()
	case "prepare_replica":
		return []string{sprintf("make the account %s on %s and set the position", accountOf(name),
			primary)}
	case "configure_replica":
		return []string{sprintf("point %s to %s:%d, by GTID over TLS", name, d.source.srv.Address,
			d.source.srv.Port)}
	case "start_replica":
		return []string{"start both threads"}
	case "catch_up":
		return []string{"commit one row on " + primary + " as a fence, and wait until " + name +
			" has it"}
	case "verify":
		return []string{wouldVerify(d.args.Verify)}
	case "finish":
		if d.kind == KindCreateReplica {
			return []string{"let replication start with MariaDB, give up the reservation, record " +
				name + " as READY"}
		}
		return []string{"commit one row and record " + name + " as READY"}
	}
	return d.wouldRemove(kind)
}

// wouldUpgrade is nothing where both versions are known and of one series.
func (d *dryRun) wouldUpgrade() []string {
	if order, ok := replication.CompareSeries(copiedVersion(d.snap, d.source),
		d.image.MariaDBVersion); ok && order == 0 {
		return nil
	}
	return []string{"run mariadb-upgrade if the datadir turns out older than the MariaDB on the " +
		"machine, without writing to the binary log"}
}

func (d *dryRun) wouldRemove(kind string) []string {
	switch kind {
	case "remove_account":
		return []string{"drop its replication account on its primary"}
	case "remove_machine":
		return []string{"end its machine"}
	case "remove_volumes":
		return []string{"delete its volumes"}
	case "release_binlogs":
		return []string{"give up its reservation of binary logs"}
	case "remove_snapshot":
		return []string{"delete snapshot " + d.args.Snapshot}
	}
	return nil
}

func wouldVerify(level Verify) string {
	switch level {
	case VerifyFull:
		return "compare the checksums and definitions of all tables at one position, without " +
			"blocking the primary"
	case VerifySample:
		return "compare the checksums and definitions of some tables at one position, without " +
			"blocking the primary"
	default:
		return "take one more position of the primary and wait until the replica has applied it; " +
			"no data is compared (--verify sample or full does that)"
	}
}
