//go:build lab

package faults

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// faulty makes a replica, with faults planned from before a step on, and expects that they strike
// and that it converges.
func (l *lab) faulty(step string, faults ...planned) making {
	l.t.Helper()
	m := l.makeUntil("before_effect:" + step)
	struck := l.plan(faults...)
	l.goesOn(m)
	struck()
	l.madeOnce(m)
	return m
}

// faultyAttach is a fault of AttachVolume; whatever it was, the volume is attached once, and no
// other is made.
func (l *lab) faultyAttach(fault planned) {
	fault.Action = "AttachVolume"
	l.faulty("swap_volume", fault)
}

const forEver = 1e9 // seconds

// creatingForEver shortens the limit to what a row can wait for.
func (l *lab) creatingForEver() {
	m := l.makeUntil("before_effect:swap_volume")
	struck := l.plan(planned{Action: "CreateVolume", Times: 1, Slow: forEver})
	l.start("UNDERSTUDY_VOLUME_LIMIT=5s")
	l.fails(m.job, "PROVIDER_ERROR", "vol-", "still being made")
	struck()
	l.Stop()
	l.start()
	l.run("job", "redo", m.job, "swap_volume", "--reason", "the volume hangs")
	l.same(m.name)
	l.madeOnce(m)
}

func (l *lab) createdInError() {
	m := l.makeUntil("before_effect:swap_volume")
	struck := l.plan(planned{Action: "CreateVolume", Times: 1, Slow: 1,
		Fails: "the key is not accessible"})
	l.refused(m, "PROVIDER_ERROR", "vol-")
	struck()
	l.run("job", "redo", m.job, "swap_volume", "--reason", "the key is accessible again")
	l.same(m.name)
	l.madeOnce(m)
}

// limitReached leaves the cleaning up to the end of the row, which looks at what is left.
func (l *lab) limitReached() {
	m := l.makeUntil("before_effect:swap_volume")
	struck := l.plan(planned{Action: "CreateVolume", Refuse: "VolumeLimitExceeded",
		Message: "You have exceeded your maximum gp3 storage limit of 50 TiB in this region."})
	l.refused(m, "QUOTA_EXCEEDED", "VolumeLimitExceeded", "quota")
	struck()
}

func (l *lab) snapshotPending() {
	struck := l.plan(planned{Action: "CreateSnapshot", Times: 1, Slow: 20})
	job := l.detach("snapshot", "create", primary)
	l.eventually(2*time.Minute, "the snapshot is waited for",
		func() bool { return l.stepState(job, "await_ready") == "waiting" })
	l.refuse([]string{"SNAPSHOT_UNUSABLE"}, "replica", "create", l.name(), "--from",
		l.snapshotOf(job))
	l.await(job, 4*time.Minute,
		func(j *cpv1.Job) bool { return strings.Contains(stepOf(j, "await_ready").String(), "40") })
	l.oneCut(job, 1)
	struck()
}

func (l *lab) snapshotFails() {
	struck := l.plan(planned{Action: "CreateSnapshot", Times: 1, Slow: 2,
		Fails: "the KMS key is disabled"})
	job := l.detach("snapshot", "create", primary)
	l.fails(job, "PROVIDER_ERROR", "the KMS key is disabled")
	struck()
	l.refuse([]string{"SNAPSHOT_UNUSABLE"}, "replica", "create", l.name(), "--from",
		l.snapshotOf(job))
	l.run("job", "cleanup", job)
}

// snapshotOf is the record of the snapshot that a job takes.
func (l *lab) snapshotOf(job string) string {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	for _, s := range docs[snapshotDoc](l, db, "snapshots") {
		if s.Job == strings.TrimPrefix(job, "jobs/") {
			return s.ID
		}
	}
	l.t.Fatalf("%s has no snapshot", job)
	return ""
}

func (l *lab) snapshotDeleted() {
	l.dropSnap()
	snap, before := l.snap(), len(l.machines())
	for id := range l.snapshots() {
		l.amazonic(func(client *ec2.Client) error {
			_, err := client.DeleteSnapshot(l.t.Context(),
				&ec2.DeleteSnapshotInput{SnapshotId: aws.String(id)})
			return err
		})
	}
	l.fails(l.detach("replica", "create", l.name(), "--from", snap), "SNAPSHOT_UNUSABLE", "is gone")
	if after := len(l.machines()); after != before {
		l.t.Errorf("%d machines were made", after-before)
	}
	l.dropSnap()
}

func (l *lab) otherZone() {
	name := l.wholeJob("--zone", "eu-lab-1b")
	if out := l.run("server", "get", name, "-o", "json"); !strings.Contains(out, `"eu-lab-1b"`) {
		l.t.Errorf("it is not in the zone that was asked for:\n%s", out)
	}
}

func (l *lab) throttled() {
	m := l.makeUntil("before_effect:swap_volume")
	struck := l.plan(planned{Refuse: "RequestLimitExceeded", Message: "Request limit exceeded."})
	l.start()
	began := time.Now()
	l.await(m.job, 4*time.Minute, func(j *cpv1.Job) bool {
		return strings.Contains(stepOf(j, "swap_volume").String(), "RequestLimitExceeded")
	})
	l.eventually(2*time.Minute, "the storm has lasted 20 s", func() bool {
		if state := l.stepState(m.job, "swap_volume"); state == "failed" {
			l.t.Fatal("the job has failed")
		}
		return time.Since(began) > 20*time.Second
	})
	struck()
	l.plan()
	l.succeeds(m.job)
	l.same(m.name)
	l.madeOnce(m)
}

// throttledCut plans the storm while the provider's door is shut, so that it strikes at the worst
// moment.
func (l *lab) throttledCut() {
	f := l.freeze()
	struck := l.plan(planned{Refuse: "RequestLimitExceeded", Message: "Request limit exceeded."})
	f.answer()
	l.thaws(f)
	struck()
	l.plan()
	l.oneCut(f.job, 1)
}

func (l *lab) terminatedAt(step string) {
	m := l.makeUntil("before_effect:" + step)
	l.amazonic(func(client *ec2.Client) error {
		_, err := client.TerminateInstances(l.t.Context(),
			&ec2.TerminateInstancesInput{InstanceIds: []string{l.machineOf(m.name).ID}})
		return err
	})
	l.refused(m, "MACHINE_GONE", "i-")
	l.run("job", "cleanup", m.job)
}

// neverNamed watches the store and, in the end, the host for the name of the volume that came with
// the image.
func (l *lab) neverNamed() {
	snap, name := l.snap(), l.name()
	job := l.detach("replica", "create", name, "--from", snap, "--image", "trixie-masked")
	db := l.store()
	defer db.Close()
	old := ""
	l.eventually(2*time.Minute, "the job is done", func() bool {
		for id, v := range l.volumes() {
			if v.Default {
				old = id
			}
		}
		for _, table := range []string{"servers", "volumes"} {
			if old != "" && len(l.query(db, "SELECT 1 FROM "+table+" WHERE doc LIKE ?",
				"%"+old+"%")) > 0 {
				l.t.Fatalf("a record in %s names the default volume %s", table, old)
			}
		}
		return len(l.query(db, "SELECT 1 FROM jobs WHERE id = ? AND active = 1",
			strings.TrimPrefix(job, "jobs/"))) == 0
	})
	l.succeeds(job)
	if old == "" {
		l.t.Fatal("the machine had no default volume")
	}
	if _, there := l.volumes()[old]; there {
		l.t.Errorf("the default volume %s is still there", old)
	}
	serial := strings.TrimPrefix(l.linkOf(old), "/dev/disk/by-id/")
	if found := l.maybe(name, "grep", "-rsl", "-e", serial, "/etc/systemd", "/etc/fstab",
		"/etc/mysql", "/run/systemd", "/proc/self/mountinfo"); found != "" {
		l.t.Errorf("the host names the default volume in %s", found)
	}
	if link := l.maybe(name, "ls", l.linkOf(old)); link != "" {
		l.t.Errorf("the host still has %s", link)
	}
	l.same(name)
}

// strangersCopy attaches a volume of somebody else, made from the very same snapshot.
func (l *lab) strangersCopy() {
	m := l.makeUntil("before_effect:mount_data")
	snaps := slices.Collect(maps.Keys(l.snapshots()))
	var copied string
	l.amazonic(func(client *ec2.Client) error {
		made, err := client.CreateVolume(l.t.Context(),
			&ec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-lab-1a"),
				SnapshotId: aws.String(snaps[0]),
				VolumeType: types.VolumeTypeGp3, ClientToken: aws.String("stranger of " + m.name)})
		if err == nil {
			copied = *made.VolumeId
		}
		return err
	})
	l.eventually(2*time.Minute, "the stranger's volume is attached", func() bool {
		_, _ = l.amazon().AttachVolume(l.t.Context(),
			&ec2.AttachVolumeInput{VolumeId: aws.String(copied),
				InstanceId: aws.String(l.machineOf(m.name).ID), Device: aws.String("/dev/sdk")})
		return l.maybe(m.name, "ls", l.linkOf(copied)) != ""
	})
	device := l.exec(m.name, "readlink", "-f", l.linkOf(copied))
	before := l.superblock(m.name, device)
	l.goesOn(m)
	if after := l.superblock(m.name, device); after != before {
		l.t.Errorf("the stranger's volume was written to: %s, then %s", before, after)
	}
	if at := l.volumes()[copied].MachineID; at != l.machineOf(m.name).ID {
		l.t.Errorf("the stranger's volume is attached to %q", at)
	}
	l.eventually(2*time.Minute, "the stranger's volume is gone", func() bool {
		_, _ = l.amazon().DetachVolume(l.t.Context(),
			&ec2.DetachVolumeInput{VolumeId: aws.String(copied)})
		_, _ = l.amazon().DeleteVolume(l.t.Context(),
			&ec2.DeleteVolumeInput{VolumeId: aws.String(copied)})
		_, there := l.volumes()[copied]
		return !there
	})
}

// amazonic repeats a call of EC2's API, as somebody else would make it, until it gets through the
// faults.
func (l *lab) amazonic(call func(client *ec2.Client) error) {
	l.t.Helper()
	l.eventually(2*time.Minute, "EC2 does as it is told", func() bool {
		err := call(l.amazon())
		if err != nil {
			l.t.Log(err)
		}
		return err == nil
	})
}
