//go:build lab

package faults

import (
	"strconv"
	"strings"
)

// growRows are about volumes that grow under a server that serves.
func growRows() []row {
	return []row{
		{
			id: "G1", variant: "primary under load", quick: true, run: (*lab).growsUnderLoad,
			planted: "the data volume of a primary with xfs grows while it is written to, twice " +
				"with the same size",
			happens: "the volume, its device, its filesystem and the record have the size; " +
				"MariaDB was not restarted, no write failed; the second time changes nothing",
			why: "a filesystem grows while it is mounted; the kernel's size is waited for, not " +
				"the provider's",
		},
		{
			id: "G2", variant: "killed in between", run: (*lab).killedWhileGrowing,
			planted: "the control plane is killed once the volume has grown; later a smaller " +
				"size is asked for",
			happens: "the job goes on by itself, the filesystem fills the volume; the smaller " +
				"size is refused",
			why: "a volume that is larger than its filesystem does no harm, and is found so",
		},
	}
}

// grownSize is what a volume of 2GiB grows to.
const grownSize = 3 << 30

// growable is a primary whose filesystem can grow while it is mounted: the kernel wants
// CAP_SYS_RESOURCE for ext4, which a host of the lab may lack.
func (l *lab) growable() string {
	return l.another("--image", "trixie", "--filesystem", "xfs")
}

func (l *lab) growsUnderLoad() {
	name := l.growable()
	starts := l.starts(name)
	l.run("server", "grow", name, "--size", "3GiB")
	l.hasGrown(name)
	again := l.run("server", "grow", name, "--size", "3GiB")
	if strings.Contains(again, "changed:") {
		l.t.Errorf("the same size again changed something:\n%s", again)
	}
	l.hasGrown(name)
	if n := l.starts(name); n != starts {
		l.t.Errorf("MariaDB on %s was started %d times, not %d", name, n, starts)
	}
	l.ready(name)
	l.quiet(name)
}

func (l *lab) killedWhileGrowing() {
	name := l.growable()
	l.dieAt("after_commit:grow_volume")
	job := l.detach("server", "grow", name, "--size", "3GiB")
	l.awaitDead()
	l.start()
	l.succeeds(job)
	l.hasGrown(name)
	l.refuse([]string{"never shrinks"}, "server", "grow", name, "--size", "2GiB")
}

// hasGrown expects volume, device, filesystem and record to have the size.
func (l *lab) hasGrown(name string) {
	l.t.Helper()
	_, device := l.deviceOf(name)
	number := func(argv ...string) int64 {
		n, err := strconv.ParseInt(strings.TrimSpace(l.exec(name, argv...)), 10, 64)
		if err != nil {
			l.t.Fatal(err)
		}
		return n
	}
	if n := number("blockdev", "--getsize64", device); n != grownSize {
		l.t.Errorf("the kernel of %s sees %d bytes", name, n)
	}
	if n := number("stat", "--file-system", "--format=%b", "/srv/mariadb") *
		number("stat", "--file-system", "--format=%S", "/srv/mariadb"); n < grownSize*9/10 {
		l.t.Errorf("the filesystem of %s has %d bytes", name, n)
	}
	id, db := l.recorded(name).DataVolume, l.store()
	defer db.Close()
	for _, v := range docs[volumeDoc](l, db, "volumes") {
		if v.ID == id && v.SizeBytes != grownSize {
			l.t.Errorf("the volume of %s has %d bytes on record", name, v.SizeBytes)
		}
	}
}
