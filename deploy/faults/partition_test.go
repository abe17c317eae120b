//go:build lab

package faults

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// partitioned has a primary whose data volume has a partition table, with the filesystem in its one
// partition.
func (l *lab) partitioned(filesystem string) {
	source := l.unwritten("--image", "trixie", "--filesystem", filesystem)
	l.moveToPartition(source, filesystem)
	l.writes(source)
	l.ready(source)
	m := l.makeOf(source, "before_effect:mount_data")
	link, disk := l.deviceOf(m.name)
	l.plugPartition(m.name, link, disk)
	l.goesOn(m)
	l.mountedAs(m.name, filesystem)
	if at := l.exec(m.name, "findmnt", "--noheadings", "--output", "SOURCE", "--mountpoint",
		"/srv/mariadb"); at != disk+"p1" {
		l.t.Errorf("at /srv/mariadb there is %s, not the partition of %s", at, disk)
	}
	if unit := l.exec(m.name, "cat",
		"/etc/systemd/system/srv-mariadb.mount"); !strings.Contains(unit, "What="+link+"-part1\n") {
		l.t.Errorf("the mount unit does not name the partition:\n%s", unit)
	}
	l.run("job", "retry", m.job, "--step", "mount_data")
	l.sameAs(source, m.name)
}

// moveToPartition makes a partition of all but the first MiB of a primary's volume and moves its
// filesystem in there.
func (l *lab) moveToPartition(host, filesystem string) {
	l.t.Helper()
	link, disk := l.deviceOf(host)
	uuid := l.exec(host, "findmnt", "--noheadings", "--output", "UUID", "--mountpoint",
		"/srv/mariadb")
	l.exec(host, "systemctl", "stop", mariadbUnit, "var-lib-mysql.mount", "srv-mariadb.mount")
	saved := l.temporary(l.labDir("pool"))
	l.onBox(disk, func(dir string) { l.box("cp", "--archive", dir+"/.", saved) })
	l.writeTable(disk)
	partition := l.plugPartition(host, link, disk)
	if filesystem == "xfs" {
		l.box("mkfs.xfs", "-q", "-f", "-m", "uuid="+uuid, partition)
	} else {
		l.box("mkfs.ext4", "-q", "-F", "-U", uuid, partition)
	}
	l.onBox(partition, func(dir string) { l.box("cp", "--archive", saved+"/.", dir) })
	l.exec(host, "sed", "--in-place", "s#^What=.*#What="+link+"-part1#",
		"/etc/systemd/system/srv-mariadb.mount")
	l.exec(host, "systemctl", "daemon-reload")
	l.exec(host, "systemctl", "start", "srv-mariadb.mount", "var-lib-mysql.mount", mariadbUnit)
}

// temporary is a directory that goes with the row.
func (l *lab) temporary(in string) string {
	l.t.Helper()
	dir, err := os.MkdirTemp(in, "faults-")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// onBox mounts a device on this box for as long as do takes.
func (l *lab) onBox(device string, do func(dir string)) {
	l.t.Helper()
	dir := l.temporary("")
	l.box("mount", device, dir)
	defer func() {
		l.box("umount", dir)
		// A container that boots right now has a copy of the mount for a moment.
		l.eventually(2*time.Minute, device+" is in nobody's use", func() bool {
			fd, err := unix.Open(device, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
			if err == nil {
				unix.Close(fd)
			}
			return err == nil
		})
	}()
	do(dir)
}

// writeTable writes a partition table with one partition over the first MiB of a disk.
func (l *lab) writeTable(disk string) {
	l.t.Helper()
	const start, sector = 2048, 512
	file, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	defer file.Close()
	size, err := file.Seek(0, 2)
	if err != nil {
		l.t.Fatal(err)
	}
	table := make([]byte, start*sector)
	entry := table[446:]
	copy(entry, []byte{0, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff})
	binary.LittleEndian.PutUint32(entry[8:], start)
	binary.LittleEndian.PutUint32(entry[12:], uint32(size/sector)-start)
	copy(table[510:], []byte{0x55, 0xaa})
	if _, err := file.WriteAt(table, 0); err != nil {
		l.t.Fatal(err)
	}
	if err := file.Sync(); err != nil {
		l.t.Fatal(err)
	}
}

// plugPartition does what the kernel and udev of a VM do once a disk with a partition table is
// attached, until the row ends: the partition's device, on this box and on the host, and its name
// on the host.
func (l *lab) plugPartition(host, link, disk string) (partition string) {
	l.t.Helper()
	// a row that failed may have left its own on the loop device
	_, _ = boxCommand(l.bg(), "partx", "--delete", "--nr", "1", disk)
	l.box("partx", "--add", "--nr", "1", disk)
	l.t.Cleanup(func() { _, _ = boxCommand(l.bg(), "partx", "--delete", "--nr", "1", disk) })
	partition = disk + "p1"
	number, err := os.ReadFile(filepath.Join("/sys/class/block", filepath.Base(partition), "dev"))
	if err != nil {
		l.t.Fatal(err)
	}
	major, minor, _ := strings.Cut(strings.TrimSpace(string(number)), ":")
	var st unix.Stat_t
	if unix.Stat(partition, &st) != nil {
		l.box("mknod", partition, "b", major, minor)
		l.t.Cleanup(func() { os.Remove(partition) })
	}
	l.exec(host, "mknod", partition, "b", major, minor)
	l.exec(host, "ln", "-s", partition, link+"-part1")
	return partition
}
