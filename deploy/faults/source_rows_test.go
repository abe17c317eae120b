//go:build lab

package faults

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// sourceRows are about the positions and binary logs of what a replica is made from.
func sourceRows() []row {
	return []row{
		{
			id: "R2", variant: "with log_slave_updates",
			run:     func(l *lab) { l.ofReplica(l.stand()) },
			planted: "the snapshot's source is itself a replica",
			happens: "the new replica starts from the source's gtid_slave_pos; converges",
			why:     "a replica's own binary log position may be stale",
		},
		{
			id: "R2", variant: "without log_slave_updates", run: (*lab).ofSilentReplica,
			planted: "the snapshot's source is a replica that does not log what it applies",
			happens: "DEGRADED by that setting; once it is gone the new replica starts from the " +
				"source's gtid_slave_pos; converges",
			why: "a setting that is written for a replica and does not run is named",
		},
		{
			id: "R2", variant: "in the middle of a transaction", run: (*lab).ofReplicaAmid,
			planted: "the source is a replica that stands in a transaction for as long as a " +
				"snapshot is asked for; a row of it is in a MyISAM table already",
			happens: "refuses with QUIESCE_NOT_ACQUIRED, and replication goes on; once the " +
				"transaction is over the new replica has that row once",
			why: "replication is brought to rest between two transactions before the locks " +
				"are taken: gtid_slave_pos moves at the end of one",
		},
		{
			id: "R3", variant: "purged before the plan", run: (*lab).purged,
			planted: "the primary has purged the binary logs that the snapshot needs",
			happens: "the plan refuses with BINLOGS_PURGED; no machine is made",
			why:     "the oldest binary log's Gtid_list is the low-water mark",
		},
		{
			id: "R3", variant: "purge during the job", run: (*lab).purgedMeanwhile,
			planted: "in the middle of the job somebody purges the primary's binary logs through " +
				"its agent, and has them expire after a second",
			happens: "the purge is refused, nothing expires; converges",
			why:     "the job's reservation keeps what the replica still needs",
		},
		{
			id: "R4", variant: "the primary has the replica's server_id", run: (*lab).takenID,
			planted: "the primary has been given the server_id that the replica was allotted " +
				"(1593)",
			happens: "refuses with SERVER_ID_TAKEN, naming the id",
			why:     "waiting does not help; a person has to find the other server",
		},
		{
			id: "R4", variant: "another replica has the server_id", run: (*lab).takenByReplica,
			planted: "another replica of the primary is connected with the server_id that this " +
				"one was allotted",
			happens: "refuses with SERVER_ID_TAKEN, naming the id, before its own threads are " +
				"started",
			why: "the primary lets one of them in at a time, in turns for ever, and neither " +
				"sees an error",
		},
		{
			id: "R11", variant: "several domains, strict mode off",
			run:     func(l *lab) { l.domains("0") },
			planted: "the primary has written in two gtid_domain_ids, with gtid_strict_mode off",
			happens: "the position of both domains is recorded and continued; converges",
			why:     "a position has a GTID for each domain",
		},
		{
			id: "R11", variant: "several domains, strict mode on",
			run:     func(l *lab) { l.domains("1") },
			planted: "the same with gtid_strict_mode on",
			happens: "the same",
			why:     "the same",
		},
		{
			id: "R11", variant: "position empty", run: (*lab).emptyPosition,
			planted: "the primary's binary log is empty when the snapshot is taken: its position " +
				"is the empty one",
			happens: "the empty position is recorded and proved; converges",
			why:     "an empty position is a position",
		},
	}
}

func (l *lab) ofReplica(source string) {
	l.run("snapshot", "create", source)
	db := l.store()
	defer db.Close()
	for _, s := range docs[snapshotDoc](l, db, "snapshots") {
		if s.Server == source && s.State == "READY" {
			name := l.name()
			l.run("replica", "create", name, "--from", s.ID, "--of", primary)
			l.same(name)
			return
		}
	}
	l.t.Fatal("no snapshot of the replica")
}

// ofReplicaAmid lets the applier wait for a row, behind the effect of a statement that cannot be
// taken back.
func (l *lab) ofReplicaAmid() {
	source, schema := l.stand(), l.schema()
	l.sql(primary, fmt.Sprintf("CREATE OR REPLACE TABLE %[1]s.taken (id INT PRIMARY KEY) "+
		"ENGINE=MyISAM; CREATE OR REPLACE TABLE %[1]s.waits (id INT PRIMARY KEY, n INT);"+
		" INSERT INTO %[1]s.waits VALUES (1, 0), (2, 0)", schema))
	l.same(source)
	row, err := l.root(source).BeginTx(l.t.Context(), nil)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = row.Rollback() }()
	if _, err := row.ExecContext(l.t.Context(),
		"SELECT n FROM "+schema+".waits WHERE id = 1 FOR UPDATE"); err != nil {
		l.t.Fatal(err)
	}
	// With rows in the binary log the statement on MyISAM would be a transaction of its own.
	l.sql(primary, fmt.Sprintf("SET SESSION binlog_format = STATEMENT; BEGIN; UPDATE %[1]s.waits "+
		"SET n = 1 WHERE id = 2; INSERT INTO %[1]s.taken VALUES (1);"+
		" UPDATE %[1]s.waits SET n = 1 WHERE id = 1; COMMIT", schema))
	l.eventually(2*time.Minute, "the row is in the MyISAM table",
		func() bool { return l.sql(source, "SELECT COUNT(*) FROM "+schema+".taken") == "1" })
	l.fails(l.detach("snapshot", "create", source, "--quiesce-limit", quiesceLimit.String()),
		"QUIESCE_NOT_ACQUIRED", "no end of a transaction")
	if err := row.Rollback(); err != nil {
		l.t.Fatal(err)
	}
	l.whole(source)
	l.ofReplica(source)
}

func (l *lab) ofSilentReplica() {
	source := l.wholeJob("--image", "trixie-masked")
	l.put(source, "/etc/mysql/mariadb.conf.d/zzz-fault.cnf", "[mariadbd]\nlog_slave_updates=OFF\n")
	l.exec(source, "systemctl", "restart", mariadbUnit)
	l.degraded(source, "log_slave_updates")
	l.same(source)
	if own, applied := l.sql(source, "SELECT @@gtid_binlog_pos"),
		l.sql(source, "SELECT @@gtid_slave_pos"); own == applied {
		l.t.Fatalf("its binary log is at %s as what it applied: it is not stale", own)
	}
	l.exec(source, "rm", "/etc/mysql/mariadb.conf.d/zzz-fault.cnf")
	l.exec(source, "systemctl", "restart", mariadbUnit)
	l.whole(source)
	l.ofReplica(source)
}

// purged purges by hand what the snapshot has reserved: MariaDB itself does not know of
// reservations.
func (l *lab) purged() {
	snap := l.snap()
	last := l.newLogs()
	if l.standing != "" {
		l.same(l.standing) // it reads the newest log now, so MariaDB lets the older ones go
	}
	l.sql(
		primary, fmt.Sprintf(
			"SET GLOBAL slave_connections_needed_for_purge = 0; PURGE BINARY LOGS TO '%s'", last))
	before := len(l.machines())
	l.fails(l.detach("replica", "create", l.name(), "--from", snap), "BINLOGS_PURGED")
	if after := len(l.machines()); after != before {
		l.t.Errorf("%d machines were made", after-before)
	}
	l.dropSnap()
}

// newLogs makes the primary begin new binary logs, and returns the newest.
func (l *lab) newLogs() string {
	l.t.Helper()
	l.sql(primary, "FLUSH BINARY LOGS; DO SLEEP(0.1); FLUSH BINARY LOGS")
	logs := l.logs()
	return logs[len(logs)-1]
}

func (l *lab) logs() (names []string) {
	l.t.Helper()
	for line := range strings.Lines(l.sql(primary, "SHOW BINARY LOGS")) {
		name, _, _ := strings.Cut(line, "\t")
		names = append(names, name)
	}
	return names
}

func (l *lab) purgedMeanwhile() {
	l.dropSnap()              // else its own reservation would do
	agent := l.agent(primary) // its grant comes from the control plane, which dies next
	m := l.makeOf(primary, "before_effect:start_mariadb")
	before, last := l.logs(), l.newLogs()
	_, err := agent.PurgeBinlogs(l.t.Context(), &agentv1.PurgeBinlogsRequest{ToFile: last})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "reserv") {
		l.t.Errorf("the purge was to be refused for the reservation: %v", err)
	}
	if _, err := agent.SetBinlogExpiry(l.t.Context(),
		&agentv1.SetBinlogExpiryRequest{Expiry: durationpb.New(time.Second)}); err != nil {
		l.t.Fatal(err)
	}
	l.sql(primary, "DO SLEEP(2); FLUSH BINARY LOGS")
	if after := l.logs(); after[0] != before[0] {
		l.t.Errorf("binary logs began at %s and now begin at %s", before[0], after[0])
	}
	if _, err := agent.SetBinlogExpiry(l.t.Context(),
		&agentv1.SetBinlogExpiryRequest{Expiry: durationpb.New(0)}); err != nil {
		l.t.Fatal(err)
	}
	l.goesOn(m)
}

// agent is the MariaDB service of a server's agent, as the operator with a grant reaches it.
func (l *lab) agent(server string) agentv1.MariaDBServiceClient {
	l.t.Helper()
	if err := l.Grant(l.t.Context(), server); err != nil {
		l.t.Fatal(err)
	}
	db := l.store()
	defer db.Close()
	for _, s := range docs[serverDoc](l, db, "servers") {
		if s.Name == server {
			conn, err := l.DialAgent(server, s.Address)
			if err != nil {
				l.t.Fatal(err)
			}
			l.t.Cleanup(func() { conn.Close() })
			return agentv1.NewMariaDBServiceClient(conn)
		}
	}
	l.t.Fatalf("no record of %s", server)
	return nil
}

func (l *lab) takenID() {
	m := l.makeUntil("before_effect:start_replica")
	id, own := l.sql(m.name, "SELECT @@server_id"), l.sql(primary, "SELECT @@server_id")
	l.sql(primary, "SET GLOBAL server_id = "+id)
	defer l.sql(primary, "SET GLOBAL server_id = "+own)
	l.refused(m, "SERVER_ID_TAKEN", id)
}

func (l *lab) takenByReplica() {
	other := l.stand()
	m := l.makeUntil("before_effect:start_replica")
	id, own := l.sql(m.name, "SELECT @@server_id"), l.sql(other, "SELECT @@server_id")
	l.sql(other, fmt.Sprintf("STOP REPLICA; SET GLOBAL server_id = %s; START REPLICA", id))
	l.eventually(2*time.Minute, "the primary knows it by that id", func() bool {
		return slices.Contains(strings.Fields(l.sql(primary, "SHOW SLAVE HOSTS")), id)
	})
	l.refused(m, "SERVER_ID_TAKEN", id)
	l.sql(other, fmt.Sprintf("STOP REPLICA; SET GLOBAL server_id = %s; START REPLICA", own))
	l.whole(other)
}

func (l *lab) domains(strict string) {
	l.dropSnap()
	l.sql(primary, "SET GLOBAL gtid_strict_mode = "+strict)
	defer l.sql(primary, "SET GLOBAL gtid_strict_mode = 1")
	l.sql(
		primary, fmt.Sprintf(
			"SET gtid_domain_id = 7; CREATE OR REPLACE TABLE %s.seventh (id INT PRIMARY KEY)",
			l.schema()))
	name := l.wholeJob("--verify", "full")
	if position := l.sql(name, "SELECT @@gtid_slave_pos"); !strings.Contains(position, "7-") {
		l.t.Errorf("the replica is at %s, without domain 7", position)
	}
	l.sql(primary, fmt.Sprintf("SET gtid_domain_id = 7; INSERT INTO %s.seventh VALUES (1)",
		l.schema()))
	l.same(name)
	if n := l.sql(name, fmt.Sprintf("SELECT COUNT(*) FROM %s.seventh", l.schema())); n != "1" {
		l.t.Errorf("the replica has %s rows of domain 7, not 1", n)
	}
}

func (l *lab) emptyPosition() {
	source := l.unwritten("--image", "trixie")
	l.sql(source, "RESET MASTER")
	name := l.name()
	l.run("replica", "create", name, "--of", source, "--image", "trixie-masked")
	db := l.store()
	defer db.Close()
	found := false
	for _, s := range docs[snapshotDoc](l, db, "snapshots") {
		if s.Server != source {
			continue
		}
		if found = true; s.Point.BinlogPos != "" {
			l.t.Errorf("the position was %s, not empty", s.Point.BinlogPos)
		}
	}
	if !found {
		l.t.Error("no snapshot is on record")
	}
	l.writes(source)
	l.sameAs(source, name)
}
