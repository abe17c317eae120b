//go:build lab

package quiesce_test

import (
	"database/sql"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/quiesce"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const password = "a password of a replica"

// The source is a replica in the middle of an event group whose MyISAM row is on the disk already.
// A copy of that would apply it twice.
func TestPointOfAReplicaFallsBetweenTransactions(t *testing.T) {
	for name, config := range map[string]string{"one applier": "",
		"parallel appliers": "slave_parallel_threads=2\nslave_parallel_mode=optimistic"} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, root string) {
				primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
				first := mariadbtest.ReplicaOf(t, primary,
					mariadbtest.Options{Root: root, CA: mariadbtest.SameCA(primary),
						Config: config}, password)
				m, _ := manager(t, first)
				row := amidAGroup(t, primary, first)
				began := time.Now()
				h, err := m.Start(t.Context(), spec(quiesce.Online, false), nil)
				if err == nil {
					h.Close()
				}
				if errs.ReasonOf(err) != errorsv1.Reason_REASON_QUIESCE_NOT_ACQUIRED ||
					!strings.Contains(errs.HintOf(err).String(), "SHOW PROCESSLIST") {
					t.Fatalf("in the middle of a transaction: %v (%s)", err,
						errs.HintOf(err).String())
				}
				if m.Active() {
					t.Error("a STOP SLAVE that cannot be taken back was given to an applier in " +
						"the middle of a transaction")
				}
				t.Logf("gave up after %s: %v", time.Since(began), err)
				if err := row.Rollback(); err != nil {
					t.Fatal(err)
				}
				applies(t, m, first)
				load := mariadbtest.Load(t, primary)
				h, err = m.Start(t.Context(), spec(quiesce.Online, false), nil)
				if err != nil {
					t.Fatal(err)
				}
				volume := t.TempDir()
				if out, err := exec.Command("cp", "-a", first.Volume+"/.",
					volume).CombinedOutput(); err != nil {
					t.Fatalf("%v %s", err, out)
				}
				if result, err := h.Resume(t.Context()); err != nil || !result.Unbroken {
					t.Fatalf("%+v %v", result, err)
				}
				applies(t, m, first)
				second := joined(t, root, primary, volume, h.Point)
				load.Stop()
				equal(t, primary, first, second)
			})
		})
	}
}

// amidAGroup makes the replica's applier wait for a row, behind the effect of a statement of the
// same transaction that cannot be taken back. The end of the session that it answers lets the
// applier go on.
func amidAGroup(t *testing.T, primary, replica *mariadbtest.Instance) *sql.Tx {
	t.Helper()
	row, err := replica.DB.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = row.Rollback() })
	if _, err := row.ExecContext(t.Context(),
		"SELECT a FROM shop.t WHERE id = 1 FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	// With rows in the binary log the statement on MyISAM would be a group of its own.
	primary.Exec("SET SESSION binlog_format = STATEMENT; BEGIN;" +
		" UPDATE shop.t SET a = a + 1 WHERE id = 2; INSERT INTO shop.m (id, a) VALUES (5000, 1); " +
		"UPDATE shop.t SET a = a + 1 WHERE id = 1; COMMIT;" +
		" SET SESSION binlog_format = DEFAULT")
	eventually(t, "the row without a transaction is applied",
		func() bool { return replica.Value("SELECT COUNT(*) FROM shop.m WHERE id = 5000") == "1" })
	return row
}

// applies proves that replication runs, and that Quiesce left nothing behind.
func applies(t *testing.T, m *quiesce.Manager, replica *mariadbtest.Instance) {
	t.Helper()
	eventually(t, "replication runs", func() bool {
		s, err := replica.Status(t.Context())
		return err == nil && len(s.Live.Replication) == 1 && s.Live.Replication[0].Runs() &&
			!m.Active()
	})
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(mariadbtest.Patience)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func joined(t *testing.T, root string, primary *mariadbtest.Instance, volume string,
	at consistentpoint.Point) *mariadbtest.Instance {
	t.Helper()
	i := mariadbtest.New(t, mariadbtest.Options{Root: root, ServerID: 3, Volume: volume,
		CA: mariadbtest.SameCA(primary)})
	if _, err := i.Datadirs.Prepare(t.Context(), mariadb.DatadirPlan{Copy: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Configuration.Set(t.Context(), i.Settings(3)); err != nil {
		t.Fatal(err)
	}
	i.Run()
	i.Join(primary, at, password)
	if _, _, err := i.Replica.Start(t.Context(), mariadbtest.Patience); err != nil {
		t.Fatal(err)
	}
	return i
}

func equal(t *testing.T, primary *mariadbtest.Instance, replicas ...*mariadbtest.Instance) {
	t.Helper()
	target := mariadbtest.Position(t, primary.Value("SELECT @@gtid_binlog_pos"))
	for _, replica := range replicas {
		if err := replica.Replica.WaitForGtid(t.Context(), target, mariadbtest.Patience,
			func(mariadb.Progress) error { return nil }); err != nil {
			t.Fatal(err)
		}
		for table, columns := range map[string]string{"shop.t": "id, ':', a, ':', IFNULL(b, '')",
			"shop.m": "id, ':', a"} {
			rows := "SELECT GROUP_CONCAT(" + columns + " ORDER BY id SEPARATOR ' ') FROM " +
				table
			here := strings.Fields(primary.Value(rows))
			there := strings.Fields(replica.Value(rows))
			if !slices.Equal(here, there) {
				t.Errorf("%s: %d rows, and %d on the replica %s; only here %v, only there %v",
					table, len(here), len(there), replica.Value("SELECT @@server_id"),
					without(here, there), without(there, here))
			}
		}
	}
}

func without(rows, others []string) []string {
	return slices.DeleteFunc(slices.Clone(rows),
		func(row string) bool { return slices.Contains(others, row) })
}

// The agent starts replication again that a killed process has stopped, and nothing that was
// stopped before.
func TestKilledProcessOnAReplica(t *testing.T) {
	root := roots(t)[0]
	primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
	replica := mariadbtest.ReplicaOf(t, primary,
		mariadbtest.Options{Root: root, CA: mariadbtest.SameCA(primary)}, password)
	m, l := manager(t, replica)
	for _, mode := range []quiesce.Mode{quiesce.Online, quiesce.Crash} {
		if mode == quiesce.Crash {
			primary.Exec("ALTER TABLE shop.m ENGINE=InnoDB")
			equal(t, primary, replica)
		}
		h, err := m.Start(t.Context(), spec(mode, false), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := applier(t, replica); got != "No" {
			t.Errorf("%s: the applier runs meanwhile: %s", mode, got)
		}
		l.signal(t, syscall.SIGKILL)
		<-h.Ended()
		applies(t, m, replica)
	}
	replica.Exec("STOP SLAVE SQL_THREAD")
	h, err := m.Start(t.Context(), spec(quiesce.Online, false), nil)
	if err != nil {
		t.Fatal(err)
	}
	if result, err := h.Resume(t.Context()); err != nil || !result.Unbroken {
		t.Errorf("%+v %v", result, err)
	}
	if got := applier(t, replica); got != "No" {
		t.Errorf("what was stopped before was started: %s", got)
	}
}

func applier(t *testing.T, replica *mariadbtest.Instance) string {
	t.Helper()
	s, err := replica.Status(t.Context())
	if err != nil || len(s.Live.Replication) != 1 {
		t.Fatalf("%+v %v", s.Live.Replication, err)
	}
	return s.Live.Replication[0].SQLRunning
}

// Who starts replication on the way to the point would make it one between two halves of a
// transaction.
func TestReplicationStartedOnTheWay(t *testing.T) {
	root := roots(t)[0]
	primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
	replica := mariadbtest.ReplicaOf(t, primary,
		mariadbtest.Options{Root: root, CA: mariadbtest.SameCA(primary)}, password)
	m, _ := manager(t, replica)
	table, err := replica.DB.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	lock := func(statement string) {
		if _, err := table.ExecContext(t.Context(), statement); err != nil {
			t.Error(err)
		}
	}
	lock("LOCK TABLES shop.m WRITE") // the stages wait for it
	h, err := m.Start(t.Context(), spec(quiesce.Online, false), func(step string) {
		if strings.HasPrefix(step, "BACKUP STAGE START") {
			replica.Exec("START SLAVE SQL_THREAD")
			lock("UNLOCK TABLES")
		}
	})
	if err == nil {
		h.Close()
		t.Fatal("a point was reached")
	}
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_QUIESCE_NOT_ACQUIRED {
		t.Error(err)
	}
	applies(t, m, replica)
}
