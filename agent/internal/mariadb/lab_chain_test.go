//go:build lab

package mariadb_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// R2: the source is itself a replica, with and without log_slave_updates.
func TestReplicaOfACopiedReplica(t *testing.T) {
	root := roots(t)[0]
	for _, logs := range []bool{true, false} {
		t.Run(map[bool]string{true: "logs its updates", false: "does not log them"}[logs],
			func(t *testing.T) {
				ctx := t.Context()
				primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
				ca := mariadbtest.SameCA(primary)
				first, point := mariadbtest.CopyOf(t, primary,
					mariadbtest.Options{Root: root, CA: ca})
				s := first.Settings(2)
				s.LogSlaveUpdates = logs
				if _, err := first.Configuration.Set(ctx, s); err != nil {
					t.Fatal(err)
				}
				first.Run()
				first.Join(primary, point, password)
				if _, _, err := first.Replica.Start(ctx, mariadbtest.Patience); err != nil {
					t.Fatal(err)
				}
				load := mariadbtest.Load(t, primary)
				target := mariadbtest.Position(t, primary.Value("SELECT @@gtid_binlog_pos"))
				if err := first.Replica.WaitForGtid(ctx, target, mariadbtest.Patience,
					func(mariadb.Progress) error { return nil }); err != nil {
					t.Fatal(err)
				}
				second, point := mariadbtest.CopyOf(t, first,
					mariadbtest.Options{Root: root, CA: ca, ServerID: 3})
				if !point.Replica ||
					!mariadbtest.Position(t, point.SlavePos).Contains(target) {
					t.Fatalf("%+v", point)
				}
				second.Run()
				if all, err := second.Status(ctx); err != nil || len(all.Live.Replication) > 0 {
					t.Errorf("settings of the source are left: %+v %v", all.Live.Replication, err)
				}
				second.Join(primary, point, "other'")
				if _, _, err := second.Replica.Start(ctx, mariadbtest.Patience); err != nil {
					t.Fatal(err)
				}
				load.Stop()
				target = mariadbtest.Position(t, primary.Value("SELECT @@gtid_binlog_pos"))
				for _, replica := range []*mariadbtest.Instance{first, second} {
					if err := replica.Replica.WaitForGtid(ctx, target, mariadbtest.Patience,
						func(mariadb.Progress) error { return nil }); err != nil {
						t.Fatal(err)
					}
					if a, b := primary.Value(
						"SELECT SUM(CRC32(CONCAT_WS('-', id, a, b))) FROM shop.t"),
						replica.Value(
							"SELECT SUM(CRC32(CONCAT_WS('-', id, a, b))) FROM shop.t"); a != b {
						t.Errorf("%s and %s", a, b)
					}
				}
				status, err := primary.Status(ctx)
				if err != nil || len(status.Live.Replicas) != 2 {
					t.Errorf("%+v %v", status.Live.Replicas, err)
				}
			})
	}
}

// R1 on a copy of a replica: its own transaction is beyond what it replicated.
func TestPlantedWriteOnACopiedReplicaIsRefused(t *testing.T) {
	root := roots(t)[0]
	primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
	first := mariadbtest.ReplicaOf(t, primary,
		mariadbtest.Options{Root: root, CA: mariadbtest.SameCA(primary)}, password)
	second, point := mariadbtest.CopyOf(t, first,
		mariadbtest.Options{Root: root, CA: mariadbtest.SameCA(primary), ServerID: 3})
	second.Run()
	second.Exec("INSERT INTO shop.t (a) VALUES (-1)")
	_, _, err := second.Replica.Prepare(t.Context(), mariadbtest.Plan(t, point, 3))
	wants(t, err, errorsv1.Reason_REASON_GTID_MISMATCH)
}

// A copy whose binary log is not read recovers no position, or does not even start: its prepared
// transactions are decided there.
func TestBinaryLogOfAnotherName(t *testing.T) {
	root := roots(t)[0]
	primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
	replica, point := mariadbtest.CopyOf(t, primary,
		mariadbtest.Options{Root: root, CA: mariadbtest.SameCA(primary)})
	s := replica.Settings(2)
	s.LogBin = "other-bin"
	_, err := replica.Configuration.Set(t.Context(), s)
	wants(t, err, errorsv1.Reason_REASON_MARIADB_SETTING)
	if !strings.Contains(errs.HintOf(err).String(), "mariadb-bin") {
		t.Errorf("hint %q", errs.HintOf(err).String())
	}
	for _, name := range []string{"mariadb-bin.index", "mariadb-bin.000001"} {
		if err := os.Remove(filepath.Join(replica.Datadir, name)); err != nil {
			t.Fatal(err)
		}
	}
	replica.RunToItsEnd("--tc-heuristic-recover=COMMIT")
	replica.Run()
	_, _, err = replica.Replica.Prepare(t.Context(), mariadbtest.Plan(t, point, 2))
	wants(t, err, errorsv1.Reason_REASON_GTID_MISMATCH)
	if !strings.Contains(err.Error(), "log_bin") {
		t.Error(err)
	}
}

func TestPreparingDatadirs(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		ctx := t.Context()
		i := mariadbtest.New(t, mariadbtest.Options{Root: root, Install: true})
		// A run that was cut off in the middle is gone on with.
		if err := os.RemoveAll(i.Datadir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(i.Datadir, ".understudy-new/half"), 0o755); err != nil {
			t.Fatal(err)
		}
		initialize := mariadb.DatadirPlan{Initialize: true}
		if done, err := i.Datadirs.Prepare(ctx, initialize); err != nil || len(done.Changes) == 0 ||
			done.UpgradeNeeded {
			t.Fatalf("%+v %v", done, err)
		}
		i.Run()
		i.Exec("CREATE DATABASE shop")
		if done, err := i.Datadirs.Prepare(ctx, initialize); err != nil || len(done.Changes) > 0 {
			t.Errorf("again, running: %+v %v", done, err)
		}
		if err := os.WriteFile(filepath.Join(i.Datadir, "master.info"), []byte("x"),
			0o600); err != nil {
			t.Fatal(err)
		}
		_, err := i.Datadirs.Prepare(ctx, mariadb.DatadirPlan{Copy: true})
		wants(t, err, errorsv1.Reason_REASON_UNIT_WRONG_STATE)
		i.Stop()
		if out, err := exec.Command("chown", "-R", "12345",
			i.Datadir).CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
		if done, err := i.Datadirs.Prepare(ctx, mariadb.DatadirPlan{Copy: true}); err != nil ||
			len(done.Changes) != 2 {
			t.Errorf("%+v %v", done, err)
		}
		i.Run()
		_, err = i.Datadirs.Prepare(ctx, mariadb.DatadirPlan{Nonce: strings.Repeat("a", 32)})
		wants(t, err, errorsv1.Reason_REASON_NONCE_MISMATCH)
		_, err = i.Datadirs.Prepare(ctx, mariadb.DatadirPlan{Datadir: "/etc"})
		wants(t, err, errorsv1.Reason_REASON_NOT_ALLOWED)
		stranger := mariadbtest.New(t, mariadbtest.Options{Root: root})
		if err := os.WriteFile(filepath.Join(stranger.Datadir, "mine"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = stranger.Datadirs.Prepare(ctx, initialize)
		wants(t, err, errorsv1.Reason_REASON_DATADIR_INVALID)
	})
}
