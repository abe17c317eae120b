//go:build lab

package faults

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// filesystemRows are about volumes that come late, are held, or have another filesystem than the
// usual one.
func filesystemRows() []row {
	return []row{
		{
			id: "H4", variant: "seen 20 s after the attach", run: (*lab).lateDevice,
			planted: "the host's device node appears only 20 s after the provider has attached " +
				"the volume",
			happens: "waited for, which the step says; converges",
			why:     "attached at the provider is not yet there on the host",
		},
		{
			id: "H4", variant: "gone again before the mount", run: (*lab).lostDevice,
			planted: "the device goes after it was seen, and comes back 20 s later, in mount_data",
			happens: "waited for, which the step says; converges",
			why:     "the step that mounts waits for the device itself",
		},
		{
			id: "H7", variant: "XFS with a log to replay",
			run: func(l *lab) { l.brokenXFS((*lab).dirtyLog, true) },
			planted: "the snapshot's XFS was cut off in the middle of writing: its log is not " +
				"replayed",
			happens: "replayed before the first look; converges",
			why: "only the kernel replays an XFS log, so the volume is mounted out of sight " +
				"first",
		},
		{
			id: "H7", variant: "XFS with errors",
			run:     func(l *lab) { l.brokenXFS((*lab).wrongCounter, false) },
			planted: "a free block counter of the snapshot's XFS is wrong",
			happens: "refuses with FILESYSTEM_BROKEN; nothing is mounted",
			why: "xfs_repair knows no mode that leaves choices to a person; the snapshot is " +
				"still there",
		},
		{
			id: "H9", variant: "busy", run: (*lab).busyMount,
			planted: "the volume is mounted at /srv/mariadb by hand, unprepared, and a process " +
				"has its working directory there",
			happens: "retried, then refuses naming the process; once it has ended the retry " +
				"converges",
			why: "a filesystem in use is not given a new identity, and nobody's process is " +
				"killed",
		},
		{
			id: "H9", variant: "another volume at the mount point", run: (*lab).otherMounted,
			planted: "another volume is mounted at /srv/mariadb by hand",
			happens: "refuses naming it, and leaves it alone; once it is unmounted the retry " +
				"converges",
			why: "only the image's default volume may be taken off",
		},
		{
			id: "H10", variant: "ext4, whole disk",
			run: func(l *lab) {
				l.mountedAs(l.wholeJob("--image", "trixie-masked", "--verify",
					"full"), "ext4")
			},
			planted: "the primary's data volume is an ext4",
			happens: "converges, under a UUID of its own",
			why:     "the checksums of an ext4 depend on its UUID, so it is given a seed first",
		},
		{
			id: "H10", variant: "xfs, whole disk", run: (*lab).wholeXFS,
			planted: "the primary's data volume is an XFS",
			happens: "converges, under a UUID of its own",
			why:     "an XFS is only mounted beside its original once it has another UUID",
		},
		{
			id: "H10", variant: "ext4, partition", run: func(l *lab) { l.partitioned("ext4") },
			planted: "the primary's data volume has a partition table, its first partition an ext4",
			happens: "converges: the partition is mounted, by a name that holds",
			why:     "a volume with one partition is that partition",
		},
		{
			id: "H10", variant: "xfs, partition", run: func(l *lab) { l.partitioned("xfs") },
			planted: "the same with an XFS",
			happens: "the same",
			why:     "the same",
		},
	}
}

// hidden is for how long a device stays away.
const hidden = 20 * time.Second

// lateDevice has files lie where the nodes of devices will be made, so that the volume's is not
// there although it is attached. The image has no default volume, whose node would be made free.
func (l *lab) lateDevice() {
	m := l.makeUntil("before_effect:swap_volume", "--image", "trixie")
	l.exec(m.name, "bash", "-c",
		`for n in {0..255}; do [ -e /dev/loop$n ] || : > /dev/loop$n; done`)
	l.start()
	link := l.attachedLink(m.name)
	node := l.exec(m.name, "readlink", "-f", link)
	l.appearsLater(m, "swap_volume", func() {
		l.putNode(m.name, node)
		l.exec(m.name, "bash", "-c",
			`for n in {0..255}; do [ -f /dev/loop$n ] && rm /dev/loop$n; done; true`)
	})
}

// attachedLink waits until the provider has attached the job's own volume to a host, and returns
// the name of its device.
func (l *lab) attachedLink(host string) (link string) {
	l.t.Helper()
	id := l.machineOf(host).ID
	l.eventually(2*time.Minute, "a volume from the snapshot is attached", func() bool {
		for volume, v := range l.volumes() {
			if v.MachineID == id && v.SnapshotID != "" {
				link = l.linkOf(volume)
			}
		}
		return link != "" && l.maybe(host, "readlink", link) != ""
	})
	return link
}

func (l *lab) lostDevice() {
	m := l.makeUntil("before_effect:mount_data")
	_, node := l.deviceOf(m.name)
	l.exec(m.name, "rm", node)
	l.exec(m.name, "touch", node)
	l.start()
	l.appearsLater(m, "mount_data", func() { l.putNode(m.name, node) })
}

// putNode puts a device's node in the place of a file, in one move.
func (l *lab) putNode(host, node string) {
	l.t.Helper()
	l.exec(host, "mknod", node+".new", "b", "7", strings.TrimPrefix(node, "/dev/loop"))
	l.exec(host, "mv", "--no-target-directory", node+".new", node)
}

// appearsLater makes the device appear after the time that it stays away, sees that the step says
// what it waits for, and that the job ends well.
func (l *lab) appearsLater(m making, step string, appear func()) {
	l.t.Helper()
	away, said := time.After(hidden), ""
	l.await(m.job, hidden, func(j *job) bool {
		if s := stepOf(j, step).String(); strings.Contains(s, "does not see volume") ||
			strings.Contains(s, "waiting for the device") {
			said = s
		}
		return said != "" || ended(j)
	})
	if said == "" {
		l.t.Fatalf("%s did not say that it waits for the device", step)
	}
	<-away
	if state := l.stepState(m.job, step); state != "running" && state != "waiting" {
		l.t.Errorf("%s is %s while there is no device", step, state)
	}
	appear()
	l.succeeds(m.job)
	l.same(m.name)
}

func (l *lab) wholeXFS() {
	source := l.another("--image", "trixie", "--filesystem", "xfs")
	name := l.name()
	l.run("replica", "create", name, "--of", source, "--image", "trixie-masked", "--verify", "full")
	l.mountedAs(name, "xfs")
	l.sameAs(source, name)
}

func (l *lab) mountedAs(host, filesystem string) {
	l.t.Helper()
	if got := l.exec(host, "findmnt", "--noheadings", "--output", "FSTYPE", "--mountpoint",
		"/srv/mariadb"); got != filesystem {
		l.t.Errorf("the data of %s are on %s, not %s", host, got, filesystem)
	}
}

// brokenXFS plants damage on a copy of an XFS.
func (l *lab) brokenXFS(plant func(l *lab, device string), converges bool) {
	source := l.another("--image", "trixie", "--filesystem", "xfs")
	m := l.makeOf(source, "before_effect:mount_data")
	_, device := l.deviceOf(m.name)
	plant(l, device)
	if converges {
		l.goesOn(m)
		return
	}
	l.refused(m, "FILESYSTEM_BROKEN", device)
	if at := l.maybe(m.name, "findmnt", "--noheadings", "--source", device); at != "" {
		l.t.Errorf("it was mounted: %s", at)
	}
}

// box runs a program of this box and fails the row when it fails.
func (l *lab) box(argv ...string) string {
	l.t.Helper()
	out, err := boxCommand(l.t.Context(), argv...)
	if err != nil {
		l.t.Fatalf("%v: %v: %s", argv, err, out)
	}
	return out
}

// dirtyLog writes to the filesystem and then cuts it off, its log written and not replayed.
func (l *lab) dirtyLog(device string) {
	dir, err := os.MkdirTemp("", "faults-")
	if err != nil {
		l.t.Fatal(err)
	}
	defer os.Remove(dir)
	l.box("mount", "-t", "xfs", "-o", "nouuid", device, dir)
	defer l.box("umount", dir)
	for i := range 100 {
		if err := os.WriteFile(fmt.Sprintf("%s/written-%d", dir, i), []byte("before the cut"),
			0o600); err != nil {
			l.t.Fatal(err)
		}
	}
	l.box("xfs_io", "-x", "-c", "shutdown -f", dir)
}

// wrongCounter replays the log, so that the damage stays, and then sets a counter wrong.
func (l *lab) wrongCounter(device string) {
	dir, err := os.MkdirTemp("", "faults-")
	if err != nil {
		l.t.Fatal(err)
	}
	defer os.Remove(dir)
	l.box("mount", "-t", "xfs", "-o", "nouuid", device, dir)
	l.box("umount", dir)
	l.box("xfs_db", "-x", "-c", "agf 0", "-c", "write -d freeblks 77", device)
}

func (l *lab) busyMount() {
	m := l.makeUntil("before_effect:mount_data")
	_, device := l.deviceOf(m.name)
	l.exec(m.name, "mkdir", "-p", "/srv/mariadb")
	l.exec(m.name, "mount", device, "/srv/mariadb")
	l.exec(m.name, "systemd-run", "--unit=somebody", "--working-directory=/srv/mariadb", "sleep",
		"infinity")
	l.start()
	j := l.fails(m.job, "MOUNT_BUSY", "sleep (pid", "/srv/mariadb")
	if tries := stepOf(j, "mount_data").GetAttempts(); tries < 2 {
		l.t.Errorf("mount_data was tried %d times", tries)
	}
	if l.maybe(m.name, "systemctl", "is-active", "somebody") != "active" {
		l.t.Error("somebody's process was ended")
	}
	l.exec(m.name, "systemctl", "stop", "somebody")
	l.run("job", "retry", m.job)
	l.same(m.name)
}

func (l *lab) otherMounted() {
	m := l.makeUntil("before_effect:mount_data")
	file := l.labDir("pool", "stranger.img")
	l.box("truncate", "--size=64M", file)
	l.t.Cleanup(func() { os.Remove(file) })
	device := l.plug(m.name, file, l.linkOf(l.shownID("vol-00000000beef")))
	l.exec(m.name, "mkfs.ext4", "-q", device)
	l.exec(m.name, "mkdir", "-p", "/srv/mariadb")
	l.exec(m.name, "mount", device, "/srv/mariadb")
	l.refused(m, "MOUNT_WRONG_SOURCE", device, "/srv/mariadb")
	if at := l.maybe(m.name, "findmnt", "--noheadings", "--output", "SOURCE", "--mountpoint",
		"/srv/mariadb"); at != device {
		l.t.Errorf("at /srv/mariadb there is %q now", at)
	}
	l.exec(m.name, "umount", "/srv/mariadb")
	l.run("job", "retry", m.job)
	l.same(m.name)
}
