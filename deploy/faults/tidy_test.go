//go:build lab

package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// rest waits until a control plane serves and no job is under way.
func (l *lab) rest() {
	l.t.Helper()
	if !l.Running() {
		l.start()
	}
	db := l.store()
	defer db.Close()
	l.eventually(2*time.Minute, "no job is under way", func() bool {
		return len(l.query(db, "SELECT id FROM jobs WHERE active = 1")) == 0
	})
}

// tidy takes away all but the primary, the shared snapshot and the standing replica, by the
// product's own means, and looks at the provider's files and the primary's accounts for what that
// left.
func (l *lab) tidy() {
	l.t.Helper()
	l.quietAll()
	if l.t.Failed() {
		return
	}
	db := l.store()
	defer db.Close()
	servers := docs[serverDoc](l, db, "servers")
	// a primary goes after its replicas
	slices.SortFunc(servers, func(a, b serverDoc) int { return strings.Compare(b.Role, a.Role) })
	for _, s := range servers {
		if s.Name == primary || s.Name == l.standing {
			continue
		}
		if kept := l.query(db, "SELECT state FROM jobs WHERE id = ?", s.Job); len(kept) == 1 &&
			kept[0][0] != "succeeded" {
			l.run(append([]string{"job", "cleanup", s.Job}, l.confirmed(s.Job)...)...)
		} else {
			l.run("server", "delete", s.Name, "--yes")
		}
	}
	for _, s := range docs[snapshotDoc](l, db, "snapshots") {
		if s.ID != l.shared.snapshot {
			l.run("snapshot", "delete", s.ID, "--yes")
		}
	}
	l.checkTidy()
}

func (l *lab) checkTidy() {
	l.t.Helper()
	hosts, accounts := 1, []string{}
	if l.standing != "" {
		hosts, accounts = 2, append(accounts, "us_"+l.standing)
	}
	cuts := 0
	if l.shared.snapshot != "" {
		cuts = 1
	}
	if m, v, s := l.machines(), l.volumes(), l.snapshots(); len(m) != hosts || len(v) != hosts ||
		len(s) != cuts {
		l.t.Errorf("after all was taken away the provider has %d machines, %d volumes, %d "+
			"snapshots, not %d, %d, %d: %v %v %v", len(m), len(v), len(s),
			hosts, hosts, cuts, slices.Sorted(maps.Keys(m)), slices.Sorted(maps.Keys(v)),
			slices.Sorted(maps.Keys(s)))
	}
	if l.overEC2() {
		l.eventually(2*time.Minute, "a sweep of the provider finds nothing", func() bool {
			out, err := l.try("provider", "sweep")
			return err == nil && strings.Contains(out, "nothing was left behind")
		})
	}
	if got := strings.Fields(l.sql(primary,
		"SELECT User FROM mysql.user WHERE User LIKE 'us\\_%'")); !slices.Equal(got, accounts) {
		l.t.Errorf("the primary has the replication accounts %v, not %v", got, accounts)
	}
}

// snapshotAge is how old a snapshot may be that rows share: what was written since has to be caught
// up with.
const snapshotAge = 20 * time.Second

// snap is the shared snapshot of the primary, taken anew when there is none, or when it is old.
func (l *lab) snap() string {
	l.t.Helper()
	if time.Since(l.taken) > snapshotAge {
		l.dropSnap()
	}
	if l.shared.snapshot == "" {
		l.run("snapshot", "create", primary, "--quiesce-limit", quiesceLimit.String())
		l.taken = time.Now()
		db := l.store()
		defer db.Close()
		for _, s := range docs[snapshotDoc](l, db, "snapshots") {
			l.shared.snapshot = s.ID
		}
	}
	return l.shared.snapshot
}

// name is one for a server that was never used.
func (l *lab) name() string {
	l.names++
	return fmt.Sprintf("r%d", l.names)
}

// stand is the standing replica, made when there is none; its image has MariaDB masked and a
// default data volume.
func (l *lab) stand() string {
	l.t.Helper()
	if l.standing == "" {
		name := l.name()
		l.run("replica", "create", name, "--from", l.snap(), "--image", "trixie-masked")
		l.standing = name
	}
	return l.standing
}

// standJob is the job that made the standing replica.
func (l *lab) standJob() string {
	l.t.Helper()
	return l.jobOf(l.stand())
}

// jobOf is the job that made a server.
func (l *lab) jobOf(name string) string {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	for _, s := range docs[serverDoc](l, db, "servers") {
		if s.Name == name {
			return s.Job
		}
	}
	l.t.Fatalf("no record of %s", name)
	return ""
}

// making is a replica's job that a failpoint has stopped.
type making struct{ name, job, source string }

// makeUntil makes a replica from the shared snapshot until the control plane dies at a failpoint.
func (l *lab) makeUntil(failpoint string, flags ...string) making {
	l.t.Helper()
	return l.stopAt(failpoint, primary,
		append([]string{"--from", l.snap(), "--image", "trixie-masked"}, flags...)...)
}

// makeOf does the same with a snapshot that the job takes itself, of any primary.
func (l *lab) makeOf(source, failpoint string, flags ...string) making {
	l.t.Helper()
	return l.stopAt(failpoint, source, append([]string{"--of", source, "--image", "trixie-masked"},
		flags...)...)
}

func (l *lab) stopAt(failpoint, source string, flags ...string) making {
	l.t.Helper()
	l.dieAt(failpoint)
	m := making{name: l.name(), source: source}
	m.job = l.detach(append([]string{"replica", "create", m.name}, flags...)...)
	l.awaitDead()
	return m
}

// goesOn starts the control plane again, and the job has to go on by itself and end well.
func (l *lab) goesOn(m making) {
	l.t.Helper()
	l.start()
	l.succeeds(m.job)
	l.sameAs(m.source, m.name)
}

// refused starts the control plane again, and the job has to refuse.
func (l *lab) refused(m making, reason string, words ...string) {
	l.t.Helper()
	l.start()
	l.fails(m.job, reason, words...)
}

// same compares the writer's rows on a replica and on the primary, up to one row.
func (l *lab) same(replica string) {
	l.t.Helper()
	l.sameAs(primary, replica)
}

// sameAs does it for a replica of any primary.
func (l *lab) sameAs(source, replica string) {
	l.t.Helper()
	table := l.schemaOf(source) + ".probe"
	last := l.sql(source, "SELECT MAX(id) FROM "+table)
	position := l.sql(source, "SELECT @@gtid_binlog_pos")
	if got := l.sql(replica, fmt.Sprintf("SELECT MASTER_GTID_WAIT('%s', 60)",
		position)); got != "0" {
		l.t.Fatalf("%s does not reach %s", replica, position)
	}
	const upTo = "SELECT COUNT(*), COALESCE(SUM(CRC32(CONCAT(id, at))), 0) FROM %s WHERE id <= %s"
	if a, b := l.sql(source, fmt.Sprintf(upTo, table, last)),
		l.sql(replica, fmt.Sprintf(upTo, table, last)); a != b {
		l.t.Errorf("%s has the rows %s, %s has %s", source, a, replica, b)
	}
}

// dropSnap deletes the shared snapshot: the next row that needs one takes another.
func (l *lab) dropSnap() {
	l.t.Helper()
	if l.shared.snapshot != "" {
		l.run("snapshot", "delete", l.shared.snapshot, "--yes")
		l.shared.snapshot = ""
	}
}
