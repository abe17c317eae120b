//go:build lab

package faults

import (
	"context"
	"fmt"
	"strings"
	"time"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func stateRows() []row {
	return []row{
		{
			id: "S4", variant: "long ALTER TABLE", run: (*lab).longAlter,
			planted: "an `ALTER TABLE` that copies its table runs, as long as the job lasts",
			happens: "QUIESCE_NOT_ACQUIRED, or a snapshot, but no writer waits longer than the " +
				"limit; once it is over a snapshot is taken",
			why: "each stage has a lock_wait_timeout of seconds",
		},
		{
			id: "S4", variant: "ALTER TABLE that waits for a metadata lock",
			run: (*lab).waitingAlter,
			planted: "an `ALTER TABLE` in place has done its work, and waits for an open " +
				"transaction to let go of the table, while a replica is made",
			happens: "converges: the copy has the table as it was; the replica gets the change " +
				"when the primary makes it",
			why: "MariaDB's recovery undoes what its DDL log says was not finished; it needs " +
				"the files of that change, so nothing is taken out of its hands",
		},
		{
			id: "S6", variant: "pending", run: (*lab).fromPending,
			planted: "a replica is requested from a snapshot whose job still has the server " +
				"quiesced",
			happens: "it is refused: the snapshot is PENDING; the snapshot's job is not touched",
			why:     "the plan asks the record's state before anything is made",
		},
		{
			id: "S6", variant: "failed", run: (*lab).fromFailed,
			planted: "a replica is asked for from a snapshot whose job was cancelled at its " +
				"worst moment",
			happens: "it is refused: the snapshot is FAILED",
			why:     "the same",
		},
		{
			id: "S6", variant: "deleted", run: (*lab).fromDeleted,
			planted: "a replica is asked for from a snapshot that was deleted",
			happens: "it is refused: the snapshot is DELETED",
			why:     "the same; the record stays, and says so",
		},
		{
			id: "S8", variant: "MyISAM and Aria under load", run: (*lab).otherEngines,
			planted: "a MyISAM and an Aria table are written to until the replica catches up; " +
				"mode crash, then online, then a replica with `--verify full`",
			happens: "crash is refused, naming the tables; the online copy is consistent",
			why: "BLOCK_COMMIT and the freeze hold all engines; without a lock they are " +
				"copied torn",
		},
		{
			id: "S8", variant: "modes offline and crash", run: (*lab).otherModes,
			planted: "a replica is made from a snapshot of mode offline, and one from a snapshot " +
				"of mode crash, taken under load",
			happens: "both converge",
			why: "a clean stop is a point; a crash-safe InnoDB recovers to one that the " +
				"point brackets",
		},
	}
}

func (l *lab) longAlter() {
	table := l.schema() + ".wide"
	l.sql(primary, fmt.Sprintf("CREATE OR REPLACE TABLE %[1]s (id INT PRIMARY KEY, n CHAR(200)); "+
		"INSERT INTO %[1]s SELECT seq, REPEAT('x', 200) FROM %[2]s.seq_1_to_150000", table,
		l.schema()))
	conn, err := l.root(primary).Conn(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	l.writer.Reset()
	altered := make(chan error, 1)
	ctx, cancel := context.WithTimeout(l.t.Context(), 3*time.Minute)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if _, err := conn.ExecContext(ctx,
				"ALTER TABLE "+table+" FORCE, ALGORITHM=COPY"); err != nil {
				altered <- err
				return
			}
		}
	}()
	root := l.root(primary)
	l.eventually(2*time.Minute, "the table is altered", func() bool {
		return len(l.query(root,
			"SELECT 1 FROM information_schema.processlist WHERE info LIKE 'ALTER TABLE%'")) > 0
	})
	out, err := l.try("snapshot", "create", primary, "--quiesce-limit", quiesceLimit.String())
	if err != nil && !strings.Contains(out, "QUIESCE_NOT_ACQUIRED") {
		l.t.Errorf("the snapshot failed, but not for want of the lock:\n%s", out)
	}
	l.t.Logf("with the ALTER TABLE under way: %v; the longest commit: %s", err,
		l.writer.Longest().Round(time.Millisecond))
	if longest := l.writer.Longest(); longest > longestCommit {
		l.t.Errorf("a commit took %s, more than the limit %s and 1 s", longest, quiesceLimit)
	}
	cancel()
	<-altered
	l.run("snapshot", "create", primary, "--quiesce-limit", quiesceLimit.String())
	l.sql(primary, "DROP TABLE "+table)
}

// waitingAlter: with the new definition's file gone, MariaDB would take the change for done, and
// log it as the copy's own.
func (l *lab) waitingAlter() {
	l.dropSnap()
	table, root := l.schema()+".altered", l.root(primary)
	l.sql(primary, fmt.Sprintf("CREATE OR REPLACE TABLE %[1]s (id INT PRIMARY KEY, n CHAR(200)); "+
		"INSERT INTO %[1]s SELECT seq, UUID() FROM %[2]s.seq_1_to_150000", table, l.schema()))
	reader, err := root.Conn(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer reader.Close()
	altered := make(chan error, 1)
	go func() {
		_, err := root.ExecContext(l.t.Context(),
			"SET STATEMENT lock_wait_timeout = 600 FOR ALTER TABLE "+table+
				" ADD INDEX by_n (n), ALGORITHM=INPLACE, LOCK=NONE")
		altered <- err
	}()
	underWay := func(state string) {
		l.t.Helper()
		l.eventually(2*time.Minute, "the change is "+state, func() bool {
			return len(l.query(root, "SELECT 1 FROM information_schema.processlist WHERE info "+
				"LIKE '%ALTER TABLE%' AND state LIKE ?", state)) > 0
		})
	}
	underWay("altering table")
	l.must(reader, "START TRANSACTION")
	l.must(reader, "SELECT * FROM "+table+" WHERE id = 1")
	underWay("Waiting for table metadata lock")
	name := l.wholeJob()
	if has := l.sql(name, "SHOW INDEX FROM "+table+" WHERE Key_name = 'by_n'"); has != "" {
		l.t.Errorf("the copy has the index already: %s", has)
	}
	l.must(reader, "ROLLBACK")
	if err := <-altered; err != nil {
		l.t.Fatal(err)
	}
	l.same(name)
	if has := l.sql(name, "SHOW INDEX FROM "+table+" WHERE Key_name = 'by_n'"); has == "" {
		l.t.Error("the replica did not get the index")
	}
	l.sql(primary, "DROP TABLE "+table)
}

// snapshotIn is a snapshot's id in a state.
func (l *lab) snapshotIn(state string) string {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	found := l.query(db, "SELECT doc FROM snapshots WHERE state = ? ORDER BY id DESC", state)
	if len(found) == 0 {
		l.t.Fatalf("no snapshot is %s", state)
	}
	_, rest, _ := strings.Cut(found[0][0], `"ID":"`)
	id, _, _ := strings.Cut(rest, `"`)
	return id
}

// unusable asks for a replica from a snapshot, which has to be refused in these words.
func (l *lab) unusable(id string, words ...string) {
	l.t.Helper()
	machines := len(l.machines())
	l.refuse(append(words, id), "replica", "create", l.name(), "--from", id, "--image",
		"trixie-masked")
	if after := len(l.machines()); after != machines {
		l.t.Errorf("the provider has %d machines, %d before", after, machines)
	}
}

func (l *lab) fromPending() {
	f := l.freeze()
	id := l.snapshotIn("PENDING")
	job := l.detach("replica", "create", l.name(), "--from", id, "--image", "trixie-masked")
	l.eventually(2*time.Minute, "the plan refuses",
		func() bool { return l.stepState(job, "plan") == "failed" })
	f.answer() // which the end of both jobs needs
	l.fails(job, "SNAPSHOT_UNUSABLE", "PENDING", id)
	l.oneCut(f.job, 1)
}

func (l *lab) fromFailed() {
	f := l.freeze()
	l.run("job", "cancel", f.job, "--detach")
	l.thaws(f)
	f.answer()
	l.await(f.job, 4*time.Minute, ended)
	l.unusable(l.snapshotIn("FAILED"), "FAILED")
}

func (l *lab) fromDeleted() {
	id := l.snap()
	l.dropSnap()
	l.unusable(id, "DELETED")
}

func (l *lab) otherEngines() {
	for _, engine := range []string{"MyISAM", "Aria"} {
		l.sql(primary, fmt.Sprintf("CREATE OR REPLACE TABLE %s.of_%s (id INT AUTO_INCREMENT "+
			"PRIMARY KEY, n CHAR(100)) ENGINE=%s", l.schema(), engine, engine))
		defer l.sql(primary, fmt.Sprintf("DROP TABLE %s.of_%s", l.schema(), engine))
	}
	l.dropSnap()
	ctx, cancel := context.WithCancel(l.t.Context())
	stopped := make(chan error, 2)
	for _, engine := range []string{"MyISAM", "Aria"} {
		db := l.root(primary)
		go func() {
			pace := time.NewTicker(5 * time.Millisecond) // no more than a replica can follow
			defer pace.Stop()
			for ctx.Err() == nil {
				<-pace.C
				if _, err := db.ExecContext(ctx,
					fmt.Sprintf("INSERT INTO %s.of_%s (n) VALUES (UUID())", l.schema(),
						engine)); err != nil && ctx.Err() == nil {
					stopped <- err
					return
				}
			}
			stopped <- nil
		}()
	}
	l.refuse([]string{l.schema() + ".of_MyISAM", l.schema() + ".of_Aria"}, "snapshot", "create",
		primary, "--mode", "crash")
	name := l.name()
	job := l.detach("replica", "create", name, "--of", primary, "--image", "trixie-masked",
		"--verify", "full")
	l.await(job, 4*time.Minute,
		func(j *cpv1.Job) bool {
			return stepOf(j, "catch_up").GetState() == stepRunning ||
				ended(j)
		})
	cancel() // a table without versions cannot be compared while it is written to
	for range 2 {
		if err := <-stopped; err != nil {
			l.t.Errorf("a writer was refused: %v", err)
		}
	}
	l.succeeds(job)
	l.same(name)
	for _, engine := range []string{"MyISAM", "Aria"} {
		sum := fmt.Sprintf("CHECKSUM TABLE %s.of_%s EXTENDED", l.schema(), engine)
		if a, b := l.sql(primary, sum), l.sql(name, sum); a != b {
			l.t.Errorf("%s: the primary has %s, %s has %s", engine, a, name, b)
		}
	}
}

func (l *lab) otherModes() {
	for _, mode := range []string{"offline", "crash"} {
		l.dropSnap()
		l.stopWriter() // mode offline would refuse its writes
		if mode == "crash" {
			l.startWriter()
		}
		l.run("snapshot", "create", primary, "--mode", mode)
		if l.writer == nil {
			l.startWriter()
		}
		name := l.name()
		l.run("replica", "create", name, "--from", l.snapshotIn("READY"), "--image",
			"trixie-masked", "--verify", "full")
		l.same(name)
		l.run("server", "delete", name, "--yes")
		l.run("snapshot", "delete", l.snapshotIn("READY"), "--yes")
	}
}
