//go:build lab

package faults

import (
	"fmt"
	"strings"
	"time"
)

// copyRows are about what a copy brings along from its source, and what its host has of its own.
func copyRows() []row {
	return []row{
		{
			id: "H11", variant: "leftover replication state", run: (*lab).leftovers,
			planted: "the volume has master.info, multi-master.info, relay-log.info, and relay logs under another host's name",
			happens: "removed before the first start; converges",
			why:     "a copied master.info starts replication at boot, with a password in it",
		},
		{
			id: "H12", variant: "source's configuration", run: (*lab).sourceConfig,
			planted: "an option file of the source: its server_id, read_only off, bind-address 127.0.0.1, event_scheduler on, other names of logs",
			happens: "converges, our drop-in winning",
			why:     "the drop-in is read last, and the options that MariaDB itself would read are checked",
		},
		{
			id: "H13", variant: "another owner", run: (*lab).otherOwner,
			planted: "the datadir on the volume belongs to another uid",
			happens: "converges: given to mysql before the first start",
			why:     "uids differ between images",
		},
		{
			id: "H14", variant: "11.8 datadir, 10.11 image", quick: true, run: (*lab).olderImage,
			planted: "a replica of an 11.8 primary is asked for from an image with MariaDB 10.11",
			happens: "refused by the plan; no machine is made",
			why:     "a datadir never goes back",
		},
		{
			id: "H15", variant: "volume full", run: (*lab).volumeFull,
			planted: "the data volume is full when MariaDB is to start for the first time; space comes back later",
			happens: "refuses with DISK_FULL before MariaDB is started; once there is room, the retry converges",
			why:     "MariaDB itself would not fail but wait for room",
		},
		{
			id: "H16", variant: "20 s until ready", run: (*lab).slowStart,
			planted: "MariaDB takes 20 s to become ready",
			happens: "waited for, with progress; converges",
			why:     "crash recovery takes as long as it takes",
		},
		{
			id: "H16", variant: "dies at its start", run: (*lab).diesAtStart,
			planted: "MariaDB's unit fails at each start; the cause is taken away later",
			happens: "retried, then refuses with the journal's last lines; the retry converges",
			why:     "a person needs the unit's own words",
		},
		{
			id: "R2", variant: "snapshot of a replica", run: (*lab).ofReplica,
			planted: "the snapshot's source is itself a replica",
			happens: "the new replica starts from the source's gtid_slave_pos; converges",
			why:     "a replica's own binary log position may be stale",
		},
		{
			id: "R3", variant: "purged before the plan", run: (*lab).purged,
			planted: "the primary has purged the binary logs that the snapshot needs",
			happens: "the plan refuses with BINLOGS_PURGED; no machine is made",
			why:     "the oldest binary log's Gtid_list is the low-water mark",
		},
		{
			id: "R4", variant: "the primary has the replica's server_id", run: (*lab).takenID,
			planted: "the primary has been given the server_id that the replica was allotted (1593)",
			happens: "refuses with SERVER_ID_TAKEN, naming the id",
			why:     "waiting does not help; a person has to find the other server",
		},
		{
			id: "R8", variant: "load and DDL", run: (*lab).loadAndDDL,
			planted: "tables are made, altered and replaced on the primary all along, beside the writer",
			happens: "READY, every table equal at one position",
			why:     "verify=full compares inside one read view, at exactly one GTID",
		},
		{
			id: "R11", variant: "several domains, strict mode off", run: (*lab).domains,
			planted: "the primary has written in two gtid_domain_ids, with gtid_strict_mode off",
			happens: "the position of both domains is recorded and continued; converges",
			why:     "a position has a GTID for each domain",
		},
	}
}

// onVolume mounts the volume of a host that is not mounted yet, has do change its datadir, and unmounts it.
func (l *lab) onVolume(host string, do func(datadir string)) {
	l.t.Helper()
	_, device := l.deviceOf(host)
	l.exec(host, "mount", device, "/mnt")
	do("/mnt/mysql")
	l.exec(host, "umount", "/mnt")
}

func (l *lab) leftovers() {
	m := l.makeUntil("before_effect:mount_data")
	l.onVolume(m.name, func(dir string) {
		l.put(m.name, dir+"/master.info", "33\nother-bin.000009\n4\n192.0.2.1\nrepl\nnobody-knows\n3306\n60\n0\n\n\n\n\n\n0\n1800.000\n\n0\n")
		l.put(m.name, dir+"/multi-master.info", "second\n")
		l.put(m.name, dir+"/relay-log.info", "5\n./other-relay-bin.000002\n4\nother-bin.000009\n4\n0\n")
		l.put(m.name, dir+"/other-relay-bin.000002", "leftover")
		l.put(m.name, dir+"/other-relay-bin.index", "./other-relay-bin.000002\n")
		l.exec(m.name, "chown", "--recursive", "--reference="+dir, dir)
	})
	l.goesOn(m)
	if left := l.exec(m.name, "find", "/var/lib/mysql", "-maxdepth", "1", "-name", "other-relay*"); left != "" {
		l.t.Errorf("left: %s", left)
	}
	if connections := strings.Count(l.exec(m.name, "mariadb", "--batch", "--execute", "SHOW ALL REPLICAS STATUS\\G"), "Slave_IO_Running:"); connections != 1 {
		l.t.Errorf("there are %d connections, not 1", connections)
	}
}

func (l *lab) sourceConfig() {
	m := l.makeUntil("before_effect:configure_mariadb")
	l.put(m.name, "/etc/mysql/mariadb.conf.d/70-source.cnf",
		"[mariadbd]\nserver-id=1001\nread_only=OFF\nbind-address=127.0.0.1\nevent_scheduler=ON\nskip-slave-start=OFF\nlog_bin=source-bin\nrelay_log=source-relay\n")
	l.goesOn(m)
	if got := l.sql(m.name, "SELECT @@bind_address, @@log_bin_basename"); got != "0.0.0.0\t/var/lib/mysql/mariadb-bin" {
		l.t.Errorf("bind_address and log_bin are %q", got)
	}
}

func (l *lab) otherOwner() {
	m := l.makeUntil("before_effect:mount_data")
	l.onVolume(m.name, func(dir string) { l.exec(m.name, "chown", "--recursive", "12345:12345", dir) })
	l.goesOn(m)
	if left := l.exec(m.name, "find", "/var/lib/mysql/", "-uid", "12345"); left != "" {
		l.t.Errorf("still owned by another: %s", left)
	}
}

func (l *lab) olderImage() {
	snap, before := l.snap(), len(l.machines())
	job := l.detach("replica", "create", l.name(), "--from", snap, "--image", "bookworm")
	l.fails(job, "DATADIR_NEWER", "10.11", "11.8")
	if after := len(l.machines()); after != before {
		l.t.Errorf("%d machines were made", after-before)
	}
}

func (l *lab) volumeFull() {
	m := l.makeUntil("before_effect:start_mariadb")
	const fill = "/srv/mariadb/fill"
	available := strings.Fields(l.exec(m.name, "df", "--output=avail", "--block-size=1", "/srv/mariadb"))
	l.exec(m.name, "fallocate", "--length", available[1], fill)
	l.refused(m, "DISK_FULL", m.name)
	if n := l.starts(m.name); n != 0 {
		l.t.Errorf("MariaDB was started %d times on a full volume", n)
	}
	l.exec(m.name, "rm", fill)
	l.run("job", "retry", m.job)
	l.same(m.name)
}

func (l *lab) slowStart() {
	m := l.makeUntil("before_effect:start_mariadb")
	l.put(m.name, unitFolder+"zz-fault.conf", "[Service]\nExecStartPre=/bin/sleep 20\n")
	l.exec(m.name, "systemctl", "daemon-reload")
	l.goesOn(m)
}

func (l *lab) diesAtStart() {
	m := l.makeUntil("before_effect:start_mariadb")
	l.put(m.name, unitFolder+"zz-fault.conf", "[Service]\nExecStartPre=/bin/ls /no-such-place\nRestart=no\n")
	l.exec(m.name, "systemctl", "daemon-reload")
	l.refused(m, "UNIT_FAILED", "/no-such-place")
	l.exec(m.name, "rm", "-r", unitFolder)
	l.exec(m.name, "systemctl", "daemon-reload")
	l.run("job", "retry", m.job)
	l.same(m.name)
}

func (l *lab) ofReplica() {
	source := l.stand()
	l.run("snapshot", "create", source)
	db := l.store()
	defer db.Close()
	for _, s := range docs[snapshotDoc](l, db, "snapshots") {
		if s.Server == source {
			name := l.name()
			l.run("replica", "create", name, "--from", s.ID, "--of", primary)
			l.same(name)
			return
		}
	}
	l.t.Fatal("no snapshot of the replica")
}

// purged purges by hand what the snapshot has reserved: MariaDB itself does not know of reservations.
func (l *lab) purged() {
	snap := l.snap()
	l.sql(primary, "FLUSH BINARY LOGS; DO SLEEP(0.1); FLUSH BINARY LOGS")
	logs := strings.Split(l.sql(primary, "SHOW BINARY LOGS"), "\n")
	last, _, _ := strings.Cut(logs[len(logs)-1], "\t")
	if l.standing != "" {
		l.same(l.standing) // it reads the newest log now, so MariaDB lets the older ones go
	}
	l.sql(primary, fmt.Sprintf("SET GLOBAL slave_connections_needed_for_purge = 0; PURGE BINARY LOGS TO '%s'", last))
	before := len(l.machines())
	l.fails(l.detach("replica", "create", l.name(), "--from", snap), "BINLOGS_PURGED")
	if after := len(l.machines()); after != before {
		l.t.Errorf("%d machines were made", after-before)
	}
	l.dropSnap()
}

func (l *lab) takenID() {
	m := l.makeUntil("before_effect:start_replica")
	id, own := l.sql(m.name, "SELECT @@server_id"), l.sql(primary, "SELECT @@server_id")
	l.sql(primary, "SET GLOBAL server_id = "+id)
	defer l.sql(primary, "SET GLOBAL server_id = "+own)
	l.refused(m, "SERVER_ID_TAKEN", id)
}

func (l *lab) loadAndDDL() {
	stop, finished := make(chan struct{}), make(chan error, 1)
	go func() { finished <- l.alterTables(stop) }()
	name := l.name()
	l.run("replica", "create", name, "--of", primary, "--verify", "full")
	close(stop)
	if err := <-finished; err != nil {
		l.t.Errorf("DDL on the primary failed: %v", err)
	}
	l.same(name)
}

// alterTables makes, fills and alters tables on the primary until it is stopped.
func (l *lab) alterTables(stop <-chan struct{}) error {
	db := l.root(primary)
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	for i := 0; ; i++ {
		table := fmt.Sprintf("%s.ddl%d", l.schema(), i%5)
		for _, statement := range []string{
			"CREATE OR REPLACE TABLE %s (id INT PRIMARY KEY, n INT)", "INSERT INTO %s VALUES (1, 1), (2, 2)",
			"ALTER TABLE %s ADD COLUMN more TEXT", "UPDATE %s SET more = 'x' WHERE id = 1",
		} {
			if _, err := db.Exec(fmt.Sprintf(statement, table)); err != nil {
				return err
			}
		}
		select {
		case <-stop:
			return nil
		case <-pace.C:
		}
	}
}

func (l *lab) domains() {
	l.dropSnap()
	l.sql(primary, "SET GLOBAL gtid_strict_mode = 0")
	defer l.sql(primary, "SET GLOBAL gtid_strict_mode = 1")
	l.sql(primary, fmt.Sprintf("SET gtid_domain_id = 7; CREATE OR REPLACE TABLE %s.seventh (id INT PRIMARY KEY)", l.schema()))
	name := l.wholeJob("--verify", "full")
	if position := l.sql(name, "SELECT @@gtid_slave_pos"); !strings.Contains(position, "7-") {
		l.t.Errorf("the replica is at %s, without domain 7", position)
	}
}
