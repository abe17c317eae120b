//go:build lab

package mariadb_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// eachPair runs the test with every primary and every replica that is not older.
func eachPair(t *testing.T, test func(t *testing.T, primary, replica string)) {
	all := roots(t)
	for i, primary := range all {
		for _, replica := range all[i:] {
			t.Run(mariadbtest.Name(primary)+"-"+mariadbtest.Name(replica),
				func(t *testing.T) { test(t, primary, replica) })
		}
	}
}

const password = `p"a's\s` + "`" + `wörd;--%`

func TestReplicaUnderLoad(t *testing.T) {
	eachPair(t, func(t *testing.T, primaryRoot, replicaRoot string) {
		ctx := t.Context()
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: primaryRoot})
		load := mariadbtest.Load(t, primary)
		replica, point := mariadbtest.CopyOf(t, primary,
			mariadbtest.Options{Root: replicaRoot, CA: mariadbtest.SameCA(primary)})
		replica.Run()
		if primaryRoot != replicaRoot {
			mariadbtest.CutUpgrade(t, replica)
		}
		version, changed, err := replica.Datadirs.Upgrade(ctx, mariadbtest.Patience,
			func(string) error { return nil })
		if err != nil || changed != (primaryRoot != replicaRoot) || version.String() == "" {
			t.Fatalf("upgrade: %v %v %v", version, changed, err)
		}
		replica.Join(primary, point, password)
		status, _, err := replica.Replica.Start(ctx, mariadbtest.Patience)
		if err != nil || !status.Runs() || !status.TLS || !status.TLSVerify {
			t.Fatalf("%+v %v", status, err)
		}
		retryAll(t, primary, replica, point)
		target := mariadbtest.Position(t, primary.Value("SELECT @@gtid_binlog_pos"))
		var last mariadb.Progress
		if err := replica.Replica.WaitForGtid(ctx, target, mariadbtest.Patience,
			func(p mariadb.Progress) error { last = p; return nil }); err != nil || !last.Reached {
			t.Fatalf("%+v %v", last, err)
		}
		compare(t, primary, replica)
		load.Stop()
		if load.Errors.Load() > 0 {
			t.Errorf("%d errors of the load", load.Errors.Load())
		}
		t.Logf("commits %d, slowest %s", load.Commits.Load(), time.Duration(load.Slowest.Load()))
	})
}

// retryAll repeats each call that succeeded: none of them changes anything.
func retryAll(t *testing.T, primary, replica *mariadbtest.Instance, point consistentpoint.Point) {
	t.Helper()
	ctx := t.Context()
	if _, changes, err := replica.Replica.Prepare(ctx,
		mariadbtest.Plan(t, point, 2)); err != nil || len(changes) > 0 {
		t.Errorf("PrepareReplica again: %v %v", changes, err)
	}
	if changes, _, err := replica.Replica.Configure(ctx,
		replica.PrimaryIs(primary, password)); err != nil || len(changes) > 0 {
		t.Errorf("ConfigureReplica again: %v %v", changes, err)
	}
	if _, changed, err := replica.Replica.Start(ctx, mariadbtest.Patience); err != nil || changed {
		t.Errorf("StartReplication again: %v %v", changed, err)
	}
	if done, err := replica.Configuration.Set(ctx, replica.Settings(2)); err != nil ||
		done.Changed || done.RestartRequired {
		t.Errorf("SetConfiguration again: %+v %v", done, err)
	}
	if changes, err := primary.Server.EnsureAccount(ctx,
		mariadb.Account{User: "us_2", Host: "127.0.0.1",
			Password: password}); err != nil || len(changes) > 0 {
		t.Errorf("EnsureAccount again: %v %v", changes, err)
	}
}

// compare compares all tables at one position, with the load on.
func compare(t *testing.T, primary, replica *mariadbtest.Instance) {
	t.Helper()
	ctx := t.Context()
	if _, _, err := replica.Replica.Stop(ctx, true, mariadbtest.Patience); err != nil {
		t.Fatal(err)
	}
	var head mariadb.ChecksumHead
	theirs := map[string]mariadb.TableChecksum{}
	err := primary.Server.Checksums(ctx, mariadb.ChecksumPlan{},
		func(h mariadb.ChecksumHead) error { head = h; return nil },
		func(c mariadb.TableChecksum) error {
			theirs[c.Table] = c
			return nil
		})
	if err != nil || head.Gtid == "" || head.Tables < 2 {
		t.Fatalf("%+v %v", head, err)
	}
	at := mariadbtest.Position(t, head.Gtid)
	status, _, err := replica.Replica.StartUntil(ctx, at, mariadbtest.Patience)
	if err != nil || !status.Stopped() {
		t.Fatalf("%+v %v", status, err)
	}
	equal := 0
	err = replica.Server.Checksums(ctx, mariadb.ChecksumPlan{At: at, Stopped: true},
		func(mariadb.ChecksumHead) error { return nil }, func(c mariadb.TableChecksum) error {
			other := theirs[c.Table]
			if other.Problem != "" { // altered since the view was opened, which is tried again
				return nil
			}
			if other.Consistent && !other.Missing &&
				(other.Checksum != c.Checksum || other.DefinitionHash != c.DefinitionHash ||
					c.Missing) {
				t.Errorf("%s differs: %+v %+v", c.Table, other, c)
			} else if other.Consistent && !other.Missing {
				equal++
			}
			return nil
		})
	if err != nil || equal == 0 {
		t.Errorf("%d equal tables: %v", equal, err)
	}
	if theirs["shop.m"].Consistent || !theirs["shop.t"].Consistent {
		t.Errorf("%+v", theirs)
	}
	if _, changed, err := replica.Replica.Start(ctx, mariadbtest.Patience); err != nil || !changed {
		t.Error(err)
	}
}

func wants(t *testing.T, err error, reason errorsv1.Reason) {
	t.Helper()
	if errs.ReasonOf(err) != reason || errs.HintOf(err).String() == "" {
		t.Errorf("%v (hint %q), not %v", err, errs.HintOf(err).String(), reason)
	}
}

func TestPlantedWriteOnTheCopyIsRefused(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		ctx := t.Context()
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		replica, point := mariadbtest.CopyOf(t, primary,
			mariadbtest.Options{Root: root, CA: mariadbtest.SameCA(primary)})
		replica.Run()
		plan := mariadbtest.Plan(t, point, 2)
		if _, _, err := replica.Replica.Prepare(ctx, plan); err != nil {
			t.Fatal(err)
		}
		replica.Exec("INSERT INTO shop.t (a) VALUES (-1)")
		_, _, err := replica.Replica.Prepare(ctx, plan)
		wants(t, err, errorsv1.Reason_REASON_GTID_MISMATCH)
		_, _, err = replica.Replica.Configure(ctx, replica.PrimaryIs(primary, password))
		wants(t, err, errorsv1.Reason_REASON_GTID_ERRANT)
		plan.ServerID = 3
		_, _, err = replica.Replica.Prepare(ctx, plan)
		wants(t, err, errorsv1.Reason_REASON_MARIADB_SETTING)
	})
}

func TestReplicationErrorsAreToldWordForWord(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		ctx := t.Context()
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		replica := mariadbtest.ReplicaOf(t, primary,
			mariadbtest.Options{Root: root, CA: mariadbtest.SameCA(primary)}, password)
		stop := func() {
			if _, _, err := replica.Replica.Stop(ctx, false, mariadbtest.Patience); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		// R5: somebody changed the account's password; made again under the old one, it works.
		if _, err := primary.Server.EnsureAccount(ctx,
			mariadb.Account{User: "us_2", Host: "127.0.0.1",
				Password: "other"}); err != nil {
			t.Fatal(err)
		}
		_, _, err := replica.Replica.Start(ctx, mariadbtest.Patience)
		wants(t, err, errorsv1.Reason_REASON_REPLICATION_ERROR)
		if errs.MetaOf(err)["errno"] != "1045" {
			t.Errorf("%v %v", err, errs.MetaOf(err))
		}
		if changes, _, err := replica.Replica.Configure(ctx,
			replica.PrimaryIs(primary, "other")); err != nil || len(changes) == 0 {
			t.Errorf("%v %v", changes, err)
		}
		if _, _, err := replica.Replica.Start(ctx, mariadbtest.Patience); err != nil {
			t.Fatal(err)
		}
		// R6: a row that is there already.
		replica.Exec("SET sql_log_bin = 0; INSERT INTO shop.t (id, a) VALUES (999999, 1); SET " +
			"sql_log_bin = 1")
		primary.Exec("INSERT INTO shop.t (id, a) VALUES (999999, 2)")
		target := mariadbtest.Position(t, primary.Value("SELECT @@gtid_binlog_pos"))
		err = replica.Replica.WaitForGtid(ctx, target, mariadbtest.Patience,
			func(mariadb.Progress) error { return nil })
		wants(t, err, errorsv1.Reason_REASON_REPLICATION_ERROR)
		if errs.MetaOf(err)["errno"] != "1062" {
			t.Errorf("%v", err)
		}
		replica.Exec(
			"SET sql_log_bin = 0; DELETE FROM shop.t WHERE id = 999999; SET sql_log_bin = 1")
		if _, _, err := replica.Replica.Start(ctx, mariadbtest.Patience); err != nil {
			t.Fatal(err)
		}
		if err := replica.Replica.WaitForGtid(ctx, target, mariadbtest.Patience,
			func(mariadb.Progress) error { return nil }); err != nil {
			t.Fatal(err)
		}
		// 1236: what it needs is purged.
		stop()
		primary.Exec("INSERT INTO shop.t (a) VALUES (5)", "FLUSH BINARY LOGS",
			"INSERT INTO shop.t (a) VALUES (6)", "FLUSH BINARY LOGS")
		purge(t, primary, "mariadb-bin.000003")
		_, _, err = replica.Replica.Start(ctx, mariadbtest.Patience)
		wants(t, err, errorsv1.Reason_REASON_REPLICATION_ERROR)
		if errs.MetaOf(err)["errno"] != "1236" {
			t.Errorf("%v", err)
		}
	})
}

// purge deletes binary logs once the thread of a replica that has stopped has noticed it.
func purge(t *testing.T, primary *mariadbtest.Instance, to string) {
	t.Helper()
	for deadline := time.Now().Add(mariadbtest.Patience); ; {
		_, err := primary.Binlogs.Purge(t.Context(), to)
		if err == nil {
			return
		}
		wants(t, err, errorsv1.Reason_REASON_BINLOGS_NEEDED)
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		primary.Exec("INSERT INTO shop.t (a) VALUES (7)")
	}
}

func TestWaitEndsWhenThePrimaryIsAway(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		replica := mariadbtest.ReplicaOf(t, primary,
			mariadbtest.Options{Root: root, CA: mariadbtest.SameCA(primary)}, password)
		at := mariadbtest.Position(t, primary.Value("SELECT @@gtid_binlog_pos"))
		next := mariadbtest.Position(t, fmt.Sprintf("0-1-%d", at.GTIDs()[0].Sequence+1))
		primary.Stop()
		err := replica.Replica.WaitForGtid(t.Context(), next, time.Second,
			func(mariadb.Progress) error { return nil })
		wants(t, err, errorsv1.Reason_REASON_GTID_NOT_REACHED)
		primary.Run()
		primary.Exec("INSERT INTO shop.t (a) VALUES (1)")
		if err := replica.Replica.WaitForGtid(t.Context(), next, mariadbtest.Patience,
			func(mariadb.Progress) error { return nil }); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := replica.Replica.WaitForGtid(ctx, next, time.Second,
			func(mariadb.Progress) error { return nil }); err == nil {
			t.Error("a call that was cancelled succeeded")
		}
		if _, err := replica.Server.SetReadOnly(t.Context(), false); !errors.Is(err,
			errs.FailedPrecondition) {
			t.Errorf("%v", err)
		}
	})
}
