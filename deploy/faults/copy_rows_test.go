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
			planted: "the volume has master.info, multi-master.info, relay-log.info, and relay " +
				"logs under another host's name",
			happens: "removed before the first start; converges",
			why:     "a copied master.info starts replication at boot, with a password in it",
		},
		{
			id: "H12", variant: "source's configuration", run: (*lab).sourceConfig,
			planted: "an option file of the source: its server_id, read_only off, bind-address " +
				"127.0.0.1, event_scheduler on, skip-slave-start, a tmpdir that does not exist, " +
				"other names of logs",
			happens: "converges, our drop-in winning",
			why: "the drop-in is read last, and the options that MariaDB itself would read " +
				"are checked",
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
			planted: "the data volume is full when MariaDB is to start for the first time; space " +
				"comes back later",
			happens: "refuses with DISK_FULL before MariaDB is started; once there is room, the " +
				"retry converges",
			why: "MariaDB itself would not fail but wait for room",
		},
		{
			id: "H15", variant: "root disk full", run: (*lab).rootFull,
			planted: "the host's own disk is full where units, options and the agent's memory " +
				"are written; space comes back later",
			happens: "refuses with DISK_FULL; once there is room, the retry converges",
			why: "a file that cannot be written is an answer with a hint, and nothing " +
				"half-written is left",
		},
		{
			id: "H16", variant: "60 s until ready", run: (*lab).slowStart,
			planted: "MariaDB takes 60 s to become ready",
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
			id: "H16", variant: "dies during crash recovery", run: (*lab).diesInRecovery,
			planted: "MariaDB is killed in each of its first starts, when InnoDB begins to recover",
			happens: "retried, then refuses with the journal's last lines; the retry recovers " +
				"and converges",
			why: "recovery begins anew where it was cut off",
		},
		{
			id: "R8", variant: "load and DDL", run: (*lab).loadAndDDL,
			planted: "tables are made, altered and replaced on the primary all along, beside the " +
				"writer",
			happens: "READY, every table equal at one position",
			why:     "verify=full compares inside one read view, at exactly one GTID",
		},
	}
}

// onVolume mounts the volume of a host that is not mounted yet, has do change its datadir, and
// unmounts it.
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
		l.put(m.name, dir+"/master.info",
			"33\nother-bin.000009\n4\n192.0.2.1\nrepl\nnobody-knows\n3306\n60\n0\n"+
				"\n\n\n\n\n0\n1800.000\n\n0\n")
		l.put(m.name, dir+"/multi-master.info", "second\n")
		l.put(m.name, dir+"/relay-log.info",
			"5\n./other-relay-bin.000002\n4\nother-bin.000009\n4\n0\n")
		l.put(m.name, dir+"/other-relay-bin.000002", "leftover")
		l.put(m.name, dir+"/other-relay-bin.index", "./other-relay-bin.000002\n")
		l.exec(m.name, "chown", "--recursive", "--reference="+dir, dir)
	})
	l.goesOn(m)
	if left := l.exec(m.name, "find", "/var/lib/mysql", "-maxdepth", "1", "-name",
		"other-relay*"); left != "" {
		l.t.Errorf("left: %s", left)
	}
	if connections := strings.Count(l.exec(m.name, "mariadb", "--batch", "--execute",
		"SHOW ALL REPLICAS STATUS\\G"), "Slave_IO_Running:"); connections != 1 {
		l.t.Errorf("there are %d connections, not 1", connections)
	}
}

func (l *lab) sourceConfig() {
	m := l.makeUntil("before_effect:configure_mariadb")
	l.put(m.name, "/etc/mysql/mariadb.conf.d/70-source.cnf",
		"[mariadbd]\nserver-id=1001\nread_only=OFF\nbind-address=127.0.0.1\n"+
			"event_scheduler=ON\nskip-slave-start\ntmpdir=/no/such/place\n"+
			"log_bin=source-bin\nrelay_log=source-relay\n")
	l.goesOn(m)
	if got := l.sql(m.name,
		"SELECT @@bind_address, @@log_bin_basename, @@tmpdir"); got !=
		"0.0.0.0\t/var/lib/mysql/mariadb-bin\t/tmp" {
		l.t.Errorf("bind_address, log_bin and tmpdir are %q", got)
	}
	// a replica starts its threads by itself, whatever the source's file says
	l.exec(m.name, "systemctl", "restart", mariadbUnit)
	l.whole(m.name)
}

func (l *lab) otherOwner() {
	m := l.makeUntil("before_effect:mount_data")
	l.onVolume(m.name, func(dir string) {
		l.exec(m.name, "chown", "--recursive", "12345:12345",
			dir)
	})
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
	available := strings.Fields(l.exec(m.name, "df", "--output=avail", "--block-size=1",
		"/srv/mariadb"))
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
	l.put(m.name, unitFolder+"zz-fault.conf", "[Service]\nExecStartPre=/bin/sleep 60\n")
	l.exec(m.name, "systemctl", "daemon-reload")
	l.start()
	said := map[string]bool{}
	l.await(m.job, 4*time.Minute, func(j *job) bool {
		if s := stepOf(j, "start_mariadb"); s.GetState() == stepRunning &&
			s.GetProgress().GetText() != "" {
			said[s.GetProgress().GetText()] = true
		}
		return ended(j)
	})
	if len(said) < 3 {
		l.t.Errorf("in 60 s the step said only: %v", said)
	}
	l.succeeds(m.job)
	l.same(m.name)
}

// diesInRecovery kills MariaDB at InnoDB's first line, so that it never gets to be ready.
func (l *lab) diesInRecovery() {
	m := l.makeUntil("before_effect:start_mariadb")
	l.put(m.name, unitFolder+"dies", `exec 3< <(exec /usr/sbin/mariadbd 2>&1)
while read -r line <&3; do
	echo "$line"
	case $line in *InnoDB*) kill -KILL $! ;; esac
done
exit 137
`)
	l.put(m.name, unitFolder+"zz-fault.conf", "[Service]\nExecStart=\nExecStart=/bin/bash "+
		unitFolder+"dies\nRestart=no\n")
	l.exec(m.name, "systemctl", "daemon-reload")
	l.refused(m, "UNIT_FAILED", "InnoDB")
	l.exec(m.name, "rm", "-r", unitFolder)
	l.exec(m.name, "systemctl", "daemon-reload")
	l.run("job", "retry", m.job)
	l.same(m.name)
}

// rootFull puts small filesystems without room over the folders where the agent writes on the
// host's own disk, which is the lab's, and makes room in one after the other.
func (l *lab) rootFull() {
	// as the job comes to them
	folders := []string{"/var/lib/understudy-agent", "/etc/systemd/system", "/etc/mysql"}
	m := l.makeUntil("before_effect:mount_data")
	for _, folder := range folders {
		l.exec(m.name, "bash", "-ec", `c=$(mktemp -d /run/full.XXXX); cp -a $0/. $c
			mount -t tmpfs full $0 \
				-o size=$(( $(du -sk $c | cut -f1) + 512 ))k,mode=$(stat -c %a $0)
			cp -a $c/. $0; cat /dev/zero > $0/fill 2> /dev/null || true`, folder)
	}
	l.start()
	for i, folder := range folders {
		l.fails(m.job, "DISK_FULL", folder)
		l.exec(m.name, "rm", folder+"/fill")
		if i < len(folders)-1 {
			l.refuse([]string{"DISK_FULL"}, "job", "retry", m.job)
		}
	}
	if n := l.starts(m.name); n != 0 {
		l.t.Errorf("MariaDB was started %d times", n)
	}
	l.run("job", "retry", m.job)
	l.same(m.name)
}

func (l *lab) diesAtStart() {
	m := l.makeUntil("before_effect:start_mariadb")
	l.put(m.name, unitFolder+"zz-fault.conf",
		"[Service]\nExecStartPre=/bin/ls /no-such-place\nRestart=no\n")
	l.exec(m.name, "systemctl", "daemon-reload")
	l.refused(m, "UNIT_FAILED", "/no-such-place")
	l.exec(m.name, "rm", "-r", unitFolder)
	l.exec(m.name, "systemctl", "daemon-reload")
	l.run("job", "retry", m.job)
	l.same(m.name)
}

func (l *lab) loadAndDDL() {
	stop, finished := make(chan struct{}), make(chan error, 1)
	go func() { finished <- l.alterTables(stop) }()
	name := l.name()
	job := l.detach("replica", "create", name, "--of", primary, "--verify", "full")
	l.await(job, 20*time.Minute, ended) // a busy box is behind all along
	close(stop)
	if err := <-finished; err != nil {
		l.t.Errorf("DDL on the primary failed: %v", err)
	}
	l.succeeds(job)
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
			"CREATE OR REPLACE TABLE %s (id INT PRIMARY KEY, n INT)",
			"INSERT INTO %s VALUES (1, 1), (2, 2)",
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
