//go:build lab

package faults

import (
	"fmt"
	"strings"
	"time"
)

const (
	mariadbUnit = "mariadb.service"
	unitFolder  = "/run/systemd/system/mariadb.service.d/"
)

func hostRows() []row {
	return []row{
		{
			id: "H1", variant: "image with the unit masked", quick: true, run: (*lab).maskedImage,
			planted: "the image's mariadb.service is masked (the standing replica is made from it)",
			happens: "converges: unmasked, enabled, started once",
			why: "start_mariadb makes the unit startable itself; nothing relies on an " +
				"upgrade having done it",
		},
		{
			id: "H1", variant: "masked later",
			run: func(l *lab) { l.restart("stop", "mask") },
			planted: "mariadb.service is stopped and masked on a finished replica, and " +
				"start_mariadb is retried alone",
			happens: "converges",
			why:     "the step looks at the unit's own state",
		},
		{
			id: "H2", variant: "disabled and stopped",
			run:     func(l *lab) { l.restart("stop", "disable") },
			planted: "mariadb.service is stopped and disabled",
			happens: "converges: enabled and started",
			why:     "a unit that must run is enabled too, or the next reboot is an outage",
		},
		{
			id: "H2", variant: "failed with start-limit hit", quick: true, run: (*lab).startLimit,
			planted: "mariadb.service has failed to start until systemd refuses further starts; " +
				"then the cause is gone",
			happens: "converges: the failure is reset and the unit started",
			why:     "the step resets a failed unit before it starts it",
		},
		{
			id: "H2", variant: "runs on the image's own datadir",
			run: func(l *lab) { l.wholeJob("--image", "trixie") },
			planted: "the image's MariaDB runs on the datadir of the root disk when the replica " +
				"is made",
			happens: "converges: stopped before the volume is mounted over it, started once on " +
				"the volume",
			why: "MariaDB is taken out of use before its datadir changes",
		},
		{
			id: "H3", variant: "default volume mounted then deleted", quick: true,
			run: (*lab).defaultVolume,
			planted: "the image comes with a default data volume that is mounted and in use (the " +
				"standing replica is made from it)",
			happens: "the default volume is gone at the provider; record, mount unit and mount " +
				"name the snapshot's volume",
			why: "nothing is recorded from the default volume, and the mount is proved by " +
				"serial, UUID and nonce",
		},
		{
			id: "H5", variant: "two volumes of one UUID", run: (*lab).twinVolumes,
			planted: "another copy of the same snapshot, with the same filesystem UUID and " +
				"label, is attached to the host",
			happens: "the right one is mounted, under a UUID of its own",
			why:     "volumes are found by device id, never by UUID",
		},
		{
			id: "H6", variant: "wrong volume under the right name", quick: true,
			run: (*lab).wrongVolume,
			planted: "the device that carries the volume's name has another filesystem than the " +
				"snapshot's",
			happens: "refuses; the other volume is not written to",
			why:     "UUID and nonce of the consistent point are compared before the first mount",
		},
		{
			id: "H7", variant: "errors that fsck corrects",
			run: func(l *lab) {
				l.brokenFilesystem("set_inode_field <12> links_count 7",
					true)
			},
			planted: "the snapshot's filesystem has a wrong link count",
			happens: "corrected before the first mount; converges",
			why:     "e2fsck -p with exit code 1 is a success",
		},
		{
			id: "H7", variant: "errors that fsck leaves",
			run:     func(l *lab) { l.brokenFilesystem("clri /mysql", false) },
			planted: "the inode of the datadir is cleared on the volume",
			happens: "refuses with FILESYSTEM_BROKEN; nothing is mounted",
			why:     "e2fsck -p with exit code 4 needs a person; the snapshot is still there",
		},
		{
			id: "H8", variant: "no filesystem", quick: true, run: (*lab).blankVolume,
			planted: "the first blocks of the snapshot's volume are wiped: it probes blank",
			happens: "refuses; nothing is formatted",
			why:     "only a volume that the record says is blank may be formatted",
		},
		{
			id: "H9", variant: "mount point not empty",
			run:     func(l *lab) { l.mountPoint((*lab).fillMountPoint) },
			planted: "/srv/mariadb has files of its own, not mounted",
			happens: "converges: mounted over them",
			why:     "what is below a mount point is not the step's to delete",
		},
		{
			id: "H9", variant: "already mounted right", run: (*lab).mountedRight,
			planted: "mount_data is retried alone on a finished replica",
			happens: "a no-op: nothing is changed, MariaDB is not restarted",
			why:     "the step looks before it acts",
		},
		{
			id: "H9", variant: "mounted elsewhere",
			run:     func(l *lab) { l.mountPoint((*lab).mountElsewhere) },
			planted: "the volume is mounted at another path by hand",
			happens: "refuses, naming the path that has it",
			why: "somebody else's mount is not taken away, and a filesystem in use is not " +
				"given a new identity",
		},
	}
}

// maskedImage looks at a new standing replica, whose image has MariaDB masked.
func (l *lab) maskedImage() {
	if l.standing != "" { // a row may have restarted its host
		l.run("server", "delete", l.standing, "--yes")
		l.standing = ""
	}
	name := l.stand()
	if n := l.starts(name); n != 1 {
		l.t.Errorf("MariaDB was started %d times, not once", n)
	}
	l.same(name)
}

// starts is how often systemd started MariaDB on a host.
func (l *lab) starts(host string) int {
	l.t.Helper()
	return strings.Count(l.exec(host, "journalctl", "--output=json", "UNIT="+mariadbUnit,
		"MESSAGE_ID=39f53479d3a045ac8e11786248231fbf"), "__CURSOR")
}

// again retries a step of the standing replica's job alone.
func (l *lab) again(step string) {
	l.t.Helper()
	l.run("job", "retry", l.standJob(), "--step", step)
}

// restart brings MariaDB's unit down on the standing replica and has the step bring it up again.
func (l *lab) restart(verbs ...string) {
	name := l.stand()
	for _, verb := range verbs {
		l.exec(name, "systemctl", verb, mariadbUnit)
	}
	l.again("start_mariadb")
	l.again("start_replica")
	l.whole(name)
}

// whole waits until the record says READY, and compares the data.
func (l *lab) whole(name string) {
	l.t.Helper()
	l.ready(name)
	l.same(name)
}

// ready waits until the record says READY.
func (l *lab) ready(name string) {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	l.eventually(2*time.Minute, name+" is READY", func() bool {
		return len(l.query(db, "SELECT 1 FROM servers WHERE name = ? AND state = 'READY'",
			name)) == 1
	})
}

// replicates waits until a replica is connected: the record says READY for the seconds that this
// takes after a start of its primary.
func (l *lab) replicates(name string) {
	l.t.Helper()
	l.eventually(2*time.Minute, name+" is connected to its primary", func() bool {
		return strings.Contains(l.replicaStatus(name), "Slave_IO_Running: Yes")
	})
}

func (l *lab) startLimit() {
	name := l.stand()
	l.exec(name, "systemctl", "stop", mariadbUnit)
	l.put(name, unitFolder+"zz-fault.conf",
		"[Unit]\nStartLimitBurst=1\nStartLimitIntervalSec=1h\n"+
			"[Service]\nExecStartPre=/bin/false\nRestart=no\n")
	l.exec(name, "systemctl", "daemon-reload")
	for range 3 {
		l.maybe(name, "systemctl", "start", mariadbUnit)
	}
	if got := l.maybe(name, "systemctl", "show", "--property=Result", "--value",
		mariadbUnit); got == "success" {
		l.t.Fatalf("the unit has not failed: %q", got)
	}
	l.exec(name, "rm", "-r", unitFolder)
	l.exec(name, "systemctl", "daemon-reload")
	l.again("start_mariadb")
	l.again("start_replica")
	l.whole(name)
}

// wholeJob makes a replica from the beginning to the end.
func (l *lab) wholeJob(flags ...string) string {
	l.t.Helper()
	name := l.name()
	l.run(append([]string{"replica", "create", name, "--from", l.snap()}, flags...)...)
	l.same(name)
	return name
}

func (l *lab) defaultVolume() {
	name := l.stand()
	for id, v := range l.volumes() {
		if v.Default {
			l.t.Errorf("the default volume %s is still there", id)
		}
	}
	l.again("swap_volume")
	l.again("mount_data")
	l.same(name)
}

// deviceOf is the link by which a host knows the volume that a job has attached to it, and the
// device that it points at.
func (l *lab) deviceOf(host string) (link, device string) {
	l.t.Helper()
	id := l.machineOf(host).ID
	for volume, v := range l.volumes() {
		if v.MachineID == id {
			link = l.linkOf(volume)
			return link, l.exec(host, "readlink", "-f", link)
		}
	}
	l.t.Fatalf("no volume is attached to %s", host)
	return "", ""
}

// plug makes a device of this box's appear on a host under a name, and takes it away when the row
// ends.
func (l *lab) plug(host, file, link string) (device string) {
	l.t.Helper()
	device, err := boxCommand(l.t.Context(), "losetup", "--find", "--show", file)
	if err != nil {
		l.t.Fatalf("%v: %s", err, device)
	}
	l.t.Cleanup(func() { _, _ = boxCommand(l.bg(), "losetup", "--detach", device) })
	l.exec(host, "mknod", device, "b", "7", strings.TrimPrefix(device, "/dev/loop"))
	l.exec(host, "ln", "-sf", device, link)
	return device
}

func (l *lab) twinVolumes() {
	m := l.makeUntil("before_effect:mount_data")
	twin := l.copyOfSnapshot()
	device := l.plug(m.name, twin, l.linkOf(l.shownID("vol-000000000000")))
	before := l.superblock(m.name, device)
	l.goesOn(m)
	if after := l.superblock(m.name, device); after != before {
		l.t.Errorf("the other volume was written to: %s, then %s", before, after)
	}
}

// copyOfSnapshot is a copy of the shared snapshot's content.
func (l *lab) copyOfSnapshot() string {
	l.t.Helper()
	for id := range l.snapshots() {
		file := l.labDir("pool", "twin.img")
		if out, err := boxCommand(l.t.Context(), "cp", "--reflink=always",
			l.labDir("pool", "snapshots", l.keptID(id)+".img"), file); err != nil {
			l.t.Fatalf("%v: %s", err, out)
		}
		l.t.Cleanup(func() { _, _ = boxCommand(l.bg(), "rm", "-f", file) })
		return file
	}
	l.t.Fatal("there is no snapshot")
	return ""
}

// superblock is the part of a filesystem's superblock that each mount or change of identity alters.
func (l *lab) superblock(host, device string) string {
	l.t.Helper()
	var kept []string
	for line := range strings.Lines(l.exec(host, "dumpe2fs", "-h", device)) {
		for _, key := range []string{"Filesystem UUID", "Last mount time", "Mount count",
			"Last write time"} {
			if strings.HasPrefix(line, key+":") {
				kept = append(kept, strings.TrimSpace(line))
			}
		}
	}
	return strings.Join(kept, ", ")
}

func (l *lab) wrongVolume() {
	m := l.makeUntil("before_effect:mount_data")
	_, device := l.deviceOf(m.name)
	if out, err := boxCommand(l.t.Context(), "mkfs.ext4", "-q", "-F", device); err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
	before := l.superblock(m.name, device)
	l.refused(m, "DEVICE_WRONG")
	if after := l.superblock(m.name, device); after != before {
		l.t.Errorf("the wrong volume was written to: %s, then %s", before, after)
	}
}

func (l *lab) brokenFilesystem(request string, corrected bool) {
	m := l.makeUntil("before_effect:mount_data")
	_, device := l.deviceOf(m.name)
	if out, err := boxCommand(l.t.Context(), "debugfs", "-w", "-R", request, device); err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
	if corrected {
		l.goesOn(m)
		return
	}
	l.refused(m, "FILESYSTEM_BROKEN", device)
	if at := l.maybe(m.name, "findmnt", "--noheadings", "--source", device); at != "" {
		l.t.Errorf("it was mounted: %s", at)
	}
}

func (l *lab) blankVolume() {
	m := l.makeUntil("before_effect:mount_data")
	_, device := l.deviceOf(m.name)
	l.exec(m.name, "wipefs", "--all", device)
	l.refused(m, "FILESYSTEM_MISSING")
	if found := l.maybe(m.name, "blkid", "-p", device); found != "" {
		l.t.Errorf("it was formatted: %s", found)
	}
}

// mountPoint plants something before mount_data and expects what plant returns: empty for
// convergence, or the reason of the refusal.
func (l *lab) mountPoint(plant func(l *lab, host string) (reason, word string)) {
	m := l.makeUntil("before_effect:mount_data")
	if reason, word := plant(l, m.name); reason != "" {
		l.refused(m, reason, word)
		return
	}
	l.goesOn(m)
}

func (l *lab) fillMountPoint(host string) (reason, word string) {
	l.put(host, "/srv/mariadb/mysql/somebody", "was here\n")
	return "", ""
}

func (l *lab) mountElsewhere(host string) (reason, word string) {
	_, device := l.deviceOf(host)
	l.exec(host, "mount", device, "/mnt")
	l.t.Cleanup(func() { l.maybe(host, "umount", "/mnt") })
	return "DEVICE_BUSY", "/mnt"
}

func (l *lab) mountedRight() {
	name := l.stand()
	state := func() string {
		return fmt.Sprint(l.exec(name, "systemctl", "show", "--property=InvocationID,MainPID",
			mariadbUnit, "srv-mariadb.mount", "var-lib-mysql.mount"),
			l.exec(name, "stat", "--format=%y", "/etc/systemd/system/srv-mariadb.mount"))
	}
	before := state()
	l.again("mount_data")
	if after := state(); after != before {
		l.t.Errorf("a retry of mount_data changed\n%s\nto\n%s", before, after)
	}
}
