//go:build lab

package faults

import (
	"fmt"
	"strings"
	"time"
)

func rebuildRows() []row {
	return []row{
		{
			id: "F13", variant: "rebuilt with a broken SQL thread", run: (*lab).rebuiltBroken,
			planted: "a READY replica lacks a row that the primary updates (1032)",
			happens: "DEGRADED; a rebuild makes it READY and equal, on another volume; it serves " +
				"until the new volume is attached; the old one is deleted in the end",
			why: "a copy that differs is healed by a fresh one alone",
		},
		{
			id: "F13", variant: "rebuilt with a torn datadir",
			run: func(l *lab) {
				l.rebuilt(func(name string) {
					l.exec(name, "systemctl", "kill", "--signal=KILL", mariadbUnit)
					l.exec(name, "bash", "-c", "systemctl stop mariadb; "+
						"truncate --size=1M /var/lib/mysql/ibdata1; rm /var/lib/mysql/ib_logfile0")
					l.maybe(name, "systemctl", "start", mariadbUnit)
				})
			},
			planted: "MariaDB is killed, its system tablespace is cut off and its redo log is " +
				"gone: it does not start",
			happens: "a rebuild makes it READY and equal",
			why:     "nothing of the old datadir is needed",
		},
		{
			id: "F13", variant: "rebuilt without its device",
			run: func(l *lab) {
				l.rebuilt(func(name string) {
					link, node := l.deviceOf(name)
					l.exec(name, "rm", node, link)
					l.exec(name, "systemctl", "stop", mariadbUnit)
				})
			},
			planted: "the device of the data volume goes below the mount, and MariaDB stops",
			happens: "a rebuild takes the dead mount off, and makes it READY and equal",
			why:     "a mount without a device is nobody's data any more",
		},
		{
			id: "F13", variant: "rebuild killed", run: (*lab).rebuildKilled,
			planted: "the control plane dies before the old volume is exchanged, behind it, and " +
				"before the proof",
			happens: "the next control plane goes on; the old volume is there until the replica " +
				"is READY",
			why: "the record, the tags and the host say how far it is",
		},
	}
}

// made is a replica that is nobody else's, with its data volume.
func (l *lab) madeFor() (name, volume string) {
	l.t.Helper()
	name = l.wholeJob("--image", "trixie-masked")
	return name, l.dataVolumeOf(name)
}

// dataVolumeOf is the provider's id of the volume on record.
func (l *lab) dataVolumeOf(name string) string {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	id := ""
	for _, s := range docs[serverDoc](l, db, "servers") {
		if s.Name == name {
			id = s.DataVolume
		}
	}
	for _, v := range docs[volumeDoc](l, db, "volumes") {
		if v.ID == id {
			return v.ProviderID
		}
	}
	l.t.Fatalf("%s has no volume", name)
	return ""
}

// rebuilds runs the command to its end, and holds what it leaves to what it promises.
func (l *lab) rebuilds(name, old string) {
	l.t.Helper()
	l.run("replica", "rebuild", name, "--yes", "--verify", "full")
	l.afterRebuild(name, old)
}

func (l *lab) afterRebuild(name, old string) {
	l.t.Helper()
	l.whole(name)
	now := l.dataVolumeOf(name)
	if now == old {
		l.t.Errorf("%s is on the volume %s as before", name, old)
	}
	machine := l.machineOf(name).ID
	for id, v := range l.volumes() {
		if v.MachineID == machine && id != now || id == old {
			l.t.Errorf("volume %s of %s is left", id, name)
		}
	}
}

func (l *lab) rebuilt(breakIt func(name string)) {
	name, old := l.madeFor()
	breakIt(name)
	l.degraded(name, "")
	l.rebuilds(name, old)
}

// degraded waits until the record says so, with these words.
func (l *lab) degraded(name, words string) {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	l.eventually(time.Minute, name+" is DEGRADED "+words, func() bool {
		return len(l.query(db, "SELECT 1 FROM servers WHERE name = ? AND state = 'DEGRADED' AND "+
			"doc LIKE ?", name, "%"+words+"%")) == 1
	})
}

func (l *lab) rebuiltBroken() {
	table := l.table("lost")
	name, old := l.madeFor()
	l.sql(name, fmt.Sprintf("SET sql_log_bin = 0; DELETE FROM %s", table))
	l.sql(primary, fmt.Sprintf("SET binlog_format = ROW; UPDATE %s SET n = 2", table))
	l.degraded(name, "1032")
	l.dieAt("before_effect:swap_volume")
	job := l.detach("replica", "rebuild", name, "--yes", "--verify", "full")
	l.awaitDead()
	if got := l.sql(name, "SELECT COUNT(*) FROM "+l.schema()+".probe"); got == "0" {
		l.t.Error("it does not serve what it has while the new volume is made")
	}
	l.start()
	l.succeeds(job)
	l.afterRebuild(name, old)
	if got := l.sql(name, "SELECT n FROM "+table); got != "2" {
		l.t.Errorf("the row is %q", got)
	}
}

func (l *lab) rebuildKilled() {
	name, old := l.madeFor()
	l.dieAt("before_effect:swap_volume")
	job := l.detach("replica", "rebuild", name, "--yes")
	l.awaitDead()
	for _, at := range []string{"after_effect:swap_volume", "before_effect:finish"} {
		l.dieAt(at)
		l.awaitDead()
		kept := false
		for id := range l.volumes() {
			kept = kept || id == old
		}
		if !kept {
			l.t.Errorf("at %s volume %s is gone", strings.TrimPrefix(at, "after_"), old)
		}
	}
	l.start()
	l.succeeds(job)
	l.afterRebuild(name, old)
}
