//go:build lab

package faults

import (
	"database/sql"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// world is what the checker sees once all has come to rest: the store, the provider's files and the
// hosts, never the product's answers.
type world struct {
	*lab
	db       *sql.DB
	servers  []serverDoc
	records  map[string]volumeDoc // by the record's id
	taken    map[string]snapshotDoc
	volumes  map[string]volume // the provider's, by its id
	cuts     map[string]snapshot
	machines map[string]machine
	hosts    map[string]*host // of the machines that run, by name
}

// invariants are those of the design, in its order and its words.
var invariants = [...]struct {
	says  string
	check func(w *world, bad func(format string, args ...any))
}{
	{"no mount refers to a volume that is not attached", (*world).mountsAttached},
	{"a unit that must run does, and will after a reboot", (*world).unitsRun},
	{"replication and auto purge are never both on", (*world).purgeOrReplicate},
	{"a replication statement only goes to a MariaDB that answers", (*world).statementsAnswered},
	{"nothing is formatted on the restore path", (*world).neverFormatted},
	{"the datadir is on the device that the volume names", (*world).datadirOnVolume},
	{"replication starts at the snapshot's position", (*world).positionKept},
	{"a replica is read-only and writes nothing of its own", (*world).replicaSilent},
	{"READY is proved", (*world).readyProved},
	{"nothing on the primary outlives its caller", (*world).primaryFree},
	{"binary logs that are needed are kept", (*world).binlogsKept},
	{"one changing job per server", (*world).oneJob},
	{"unknown is not healthy", (*world).unknownNotReady},
	{"a secret is nowhere to be read", (*world).secretsKept},
}

// check looks at everything and fails the row for each invariant that does not hold.
func (l *lab) check() {
	l.t.Helper()
	w := l.look()
	defer w.db.Close()
	for i, invariant := range invariants {
		invariant.check(w, func(format string, args ...any) {
			l.t.Errorf("invariant %d (%s): %s", i+1, invariant.says, fmt.Sprintf(format, args...))
		})
	}
}

func (l *lab) look() *world {
	l.t.Helper()
	w := &world{lab: l, db: l.store(), records: map[string]volumeDoc{},
		taken: map[string]snapshotDoc{}, hosts: map[string]*host{}}
	w.servers = docs[serverDoc](l, w.db, "servers")
	for _, v := range docs[volumeDoc](l, w.db, "volumes") {
		w.records[v.ID] = v
	}
	for _, s := range docs[snapshotDoc](l, w.db, "snapshots") {
		w.taken[s.ID] = s
	}
	w.volumes, w.cuts, w.machines = l.volumes(), l.snapshots(), l.machines()
	for _, m := range w.machines {
		if m.Phase == "running" {
			w.hosts[m.Name] = l.lookAt(m.Name)
		}
	}
	return w
}

// live are the servers with a host that runs.
func (w *world) live(each func(s serverDoc, h *host)) {
	for _, s := range w.servers {
		if h := w.hosts[s.Name]; h != nil {
			each(s, h)
		}
	}
}

func (w *world) mountsAttached(bad func(string, ...any)) {
	for _, s := range w.servers {
		for _, m := range s.Mounts {
			record, ok := w.records[m.Volume]
			at := w.volumes[record.ProviderID]
			if !ok || at.MachineID != s.MachineID || s.MachineID == "" {
				bad("%s has a mount of %s recorded; the provider has that volume at %q", s.Name,
					m.Volume, at.MachineID)
			}
		}
	}
	for _, record := range w.records {
		if w.volumes[record.ProviderID].Default || record.ImageDefault {
			bad("record %s is of an image's default volume", record.ID)
		}
	}
	w.live(func(s serverDoc, h *host) {
		record, ok := w.records[s.DataVolume]
		disk, _, _ := strings.Cut(h.unitSource, "-part")
		if ok && s.State == "READY" && disk != w.linkOf(record.ProviderID) {
			bad("the mount unit of %s has What=%s, its volume is %s", s.Name, h.unitSource,
				record.ProviderID)
		}
	})
}

func (w *world) unitsRun(bad func(string, ...any)) {
	w.live(func(s serverDoc, h *host) {
		if s.State == "READY" && (h.unit != "loaded enabled active" || h.sql == nil) {
			bad("mariadb.service of %s, which is READY, is %q and answers: %v", s.Name, h.unit,
				h.sql != nil)
		}
	})
}

func (w *world) purgeOrReplicate(bad func(string, ...any)) {
	for _, s := range w.servers {
		if s.ReplicationConfigured && s.BinlogAutoPurge {
			bad("%s has both", s.Name)
		}
	}
	w.live(func(s serverDoc, h *host) {
		if s.ReplicationConfigured && h.sql != nil && h.sql["expire"] != "0" {
			bad("MariaDB of %s purges its binary logs after %s s", s.Name, h.sql["expire"])
		}
	})
}

// statementsAnswered: a statement sent to a MariaDB that is down leaves the socket's error in the
// attempt.
func (w *world) statementsAnswered(bad func(string, ...any)) {
	for _, row := range w.query(w.db,
		`SELECT s.kind, a.failure, s.job_id FROM job_attempts a
		JOIN job_steps s ON s.job_id = a.job_id AND s.seq = a.seq
		WHERE s.kind IN ('prepare_replica', 'configure_replica', 'start_replica', 'finish')
		AND (a.failure LIKE '%mysqld.sock%' OR a.failure LIKE '%bad connection%'
		OR a.failure LIKE '%invalid connection%')`) {
		if !slices.Contains(w.felledJobs, row[2]) {
			bad("%s: %s", row[0], row[1])
		}
	}
}

func (w *world) neverFormatted(bad func(string, ...any)) {
	w.live(func(s serverDoc, h *host) {
		source := w.hosts[s.Primary]
		if w.records[s.DataVolume].Snapshot == "" || h.device == "" || source == nil {
			return
		}
		if h.made != source.made || h.made == "" {
			bad("the filesystem of %s was made as %q, the one that it was copied from as %q",
				s.Name, h.made, source.made)
		}
	})
}

func (w *world) datadirOnVolume(bad func(string, ...any)) {
	w.live(func(s serverDoc, h *host) {
		record, ok := w.records[s.DataVolume]
		if s.State != "READY" || !ok {
			return
		}
		if want := w.devicesOf(record.ProviderID); !slices.Contains(want, h.device) ||
			!strings.HasPrefix(h.datadir, h.device+" ") {
			bad("volume %s is device %s; on %s /srv/mariadb is on %q, the datadir on %q",
				record.ProviderID, want, s.Name, h.device, h.datadir)
		}
		for _, m := range s.Mounts {
			if m.FSUUID != h.uuid {
				bad("%s has filesystem %s recorded and %s mounted", s.Name, m.FSUUID, h.uuid)
			}
		}
		if snap, ok := w.taken[record.Snapshot]; ok && h.nonce != snap.Point.Nonce &&
			s.Role == "REPLICA" && w.renonced(s.Name) == 0 {
			bad("the volume of %s has nonce %q, its snapshot %q", s.Name, h.nonce,
				snap.Point.Nonce)
		}
	})
	for name, h := range w.hosts {
		for other, o := range w.hosts {
			if name < other && h.uuid != "" && h.uuid == o.uuid {
				bad("%s and %s have filesystems of one UUID %s", name, other, h.uuid)
			}
		}
	}
}

// renonced is how many snapshots were asked of a server itself: each writes a nonce of its own.
func (w *world) renonced(server string) int {
	return len(w.query(w.db, "SELECT id FROM snapshots WHERE server = ?", server))
}

func (w *world) positionKept(bad func(string, ...any)) {
	w.live(func(s serverDoc, h *host) {
		snap, ok := w.taken[w.records[s.DataVolume].Snapshot]
		if !ok || h.sql == nil || s.Role != "REPLICA" || h.sql["slave_pos"] == "" {
			return
		}
		at := snap.Point.Position()
		if !covers(h.sql["slave_pos"], at) {
			bad("%s is at %s, before its snapshot's %s", s.Name, h.sql["slave_pos"], at)
		}
	})
}

func (w *world) replicaSilent(bad func(string, ...any)) {
	w.live(func(s serverDoc, h *host) {
		if s.Role != "REPLICA" || h.sql == nil || s.DataVolume == "" {
			return
		}
		threads := h.sql["io"] == "Yes" || h.sql["sql"] == "Yes"
		if (threads || s.State == "READY") &&
			(h.sql["read_only"] != "1" || h.sql["events"] != "OFF" ||
				h.sql["server_id"] != fmt.Sprint(s.ServerID)) {
			bad("%s has read_only=%s event_scheduler=%s server_id=%s, recorded %d", s.Name,
				h.sql["read_only"], h.sql["events"], h.sql["server_id"], s.ServerID)
		}
		for _, gtid := range strings.Split(h.sql["binlog_state"], ",") {
			if part := strings.Split(gtid, "-"); s.State == "READY" && len(part) == 3 &&
				part[1] == fmt.Sprint(s.ServerID) {
				bad("%s wrote %s of its own", s.Name, gtid)
			}
		}
	})
}

func (w *world) readyProved(bad func(string, ...any)) {
	w.live(func(s serverDoc, h *host) {
		if s.Role != "REPLICA" || s.State != "READY" {
			return
		}
		if h.sql["io"] != "Yes" || h.sql["sql"] != "Yes" {
			bad("%s is READY with its threads at %q and %q: %s %s", s.Name, h.sql["io"],
				h.sql["sql"], h.sql["io_error"], h.sql["sql_error"])
		}
		for _, step := range []string{"catch_up", "verify"} {
			if len(w.query(w.db,
				"SELECT 1 FROM job_steps WHERE job_id = ? AND kind = ? AND state = 'succeeded'",
				s.Job, step)) != 1 {
				bad("%s is READY without %s", s.Name, step)
			}
		}
	})
}

func (w *world) primaryFree(bad func(string, ...any)) {
	w.live(func(s serverDoc, h *host) {
		if s.Role != "PRIMARY" {
			return
		}
		if h.sql == nil {
			bad("%s does not answer", s.Name)
		}
		if h.quiescing != "" {
			bad("%s is still quiesced: %s", s.Name, h.quiescing)
		}
		for _, id := range h.reservations {
			if timer := "understudy-unreserve-" + id; !slices.Contains(h.timers, timer+".timer") &&
				!slices.Contains(h.timers, timer+"_next.timer") {
				bad("no timer ends the reservation %s on %s", id, s.Name)
			}
		}
	})
	w.goesOnWriting()
	for name, writer := range w.writersByHost() {
		if longest := writer.Longest(); longest > longestCommit {
			bad("a commit on %s took %s", name, longest)
		}
	}
}

// binlogsKept looks at the primary that a replica from each snapshot would follow.
func (w *world) binlogsKept(bad func(string, ...any)) {
	byName := map[string]serverDoc{}
	for _, s := range w.servers {
		byName[s.Name] = s
	}
	for _, s := range w.taken {
		source := or(byName[s.Server].Primary, s.Server)
		h := w.hosts[source]
		if s.State != "READY" || h == nil || h.sql == nil {
			continue
		}
		at := s.Point.Position()
		if !covers(at, h.sql["oldest"]) {
			bad("the binary logs of %s begin at %s, snapshot %s needs them from %s", source,
				h.sql["oldest"], s.ID, at)
		}
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (w *world) oneJob(bad func(string, ...any)) {
	for _, row := range w.query(w.db, "SELECT subject, job_id FROM subject_locks WHERE job_id "+
		"NOT IN (SELECT id FROM jobs WHERE active = 1)") {
		bad("%s is locked by job %s, which has ended", row[0], row[1])
	}
	for _, row := range w.query(w.db,
		`SELECT a.job_id, b.job_id, x.subject FROM job_attempts a
		JOIN job_attempts b ON a.job_id < b.job_id
		JOIN job_subjects x ON x.job_id = a.job_id
		JOIN job_subjects y ON y.job_id = b.job_id AND y.subject = x.subject
		WHERE a.started_at < b.started_at AND b.started_at < a.finished_at`) {
		if slices.Contains(w.misdated, row[0]) || slices.Contains(w.misdated, row[1]) {
			continue
		}
		bad("jobs %s and %s changed %s at a time", row[0], row[1], row[2])
	}
}

func (w *world) unknownNotReady(bad func(string, ...any)) {
	for _, s := range w.servers {
		if s.State != "READY" {
			continue
		}
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(s.Address, "7443"), 2*time.Second)
		if err != nil {
			bad("%s is READY, its agent is out of reach: %v", s.Name, err)
			continue
		}
		conn.Close()
	}
}
