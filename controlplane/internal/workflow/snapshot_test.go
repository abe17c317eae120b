package workflow_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	hosts "github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestSnapshotHasItsTestimonyAndKeepsBinlogs(t *testing.T) {
	t.Parallel()
	w, p := lab(t)
	j := p.must(snapshotOf{Source: "db1"})
	args := snapshotIn(t, j)
	snap := w.snapshot(args)
	if err := snap.Usable("db1"); err != nil {
		t.Error(err)
	}
	if snap.Testimony.Position() != "0-1001-41" || snap.Testimony.Block <= 0 ||
		snap.Reservation == "" {
		t.Errorf("%+v", snap)
	}
	if len(w.host("db1").running.disk.data.reserved) != 1 {
		t.Error("the binary logs are not reserved")
	}
	for _, s := range j.Steps {
		mark := w.mark()
		if _, err := p.engine.RetryStep(t.Context(), j.ID, s.Kind,
			job.ChangeRequest{Who: "tester"}); err != nil {
			t.Fatal(err)
		}
		succeeded(t, p.end(j.ID))
		if changes := w.changes(mark); len(changes) > 0 {
			t.Errorf("%s made changes: %v", s.Kind, changes)
		}
	}
	p.must(replica{Server: "db2", Snapshot: args,
		Verify: inventory.VerifySample})
	if d := w.host("db1").running.disk.data; len(d.reserved) != 1 {
		t.Errorf("the snapshot's reservation alone should be left: %v", d.reserved)
	}
	if srv := w.server("db2"); srv.State != inventory.ServerReady ||
		srv.StateReason != "verified to level sample" {
		t.Errorf("%+v", srv)
	}
}

func TestSnapshotWhoseHoldAlwaysBreaksLeavesNothing(t *testing.T) {
	t.Parallel()
	w, first := lab(t)
	first.stop()
	p := w.start()
	var held atomic.Bool
	p.hook = func(at job.Point, in string) {
		if at == job.AfterEffect && in == "snapshot" && !held.Load() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if h := w.hosts["db1"].hold; h != nil {
				h.end("the limit was reached")
			}
		}
	}
	p.run()
	j := p.end(p.ask(snapshotOf{Source: "db1"}).ID)
	if j.State != job.Failed {
		t.Fatal(states(j))
	}
	args := snapshotIn(t, j)
	if snap := w.snapshot(args); snap.State != inventory.SnapshotFailed ||
		snap.ProviderID != "" {
		t.Errorf("%+v", snap)
	}
	if len(w.cloud.snapshots) != 0 {
		t.Errorf("left: %v", w.cloud.snapshots)
	}
	w.checkPrimaryUntouched(t)

	held.Store(true)
	if _, err := p.engine.Retry(t.Context(), j.ID, job.ChangeRequest{Who: "tester"}); err != nil {
		t.Fatal(err)
	}
	succeeded(t, p.end(j.ID))
	if snap := w.snapshot(args); snap.Usable("db1") != nil || snap.Reservation == "" ||
		len(w.host("db1").running.disk.data.reserved) != 1 {
		t.Errorf("after a retry: %+v", snap)
	}
}

func TestSecondSnapshotAtTheSameTimeIsRefused(t *testing.T) {
	t.Parallel()
	w, first := lab(t)
	first.stop()
	p := w.start()
	reached, goOn := make(chan struct{}), make(chan struct{})
	p.hook = func(at job.Point, in string) {
		if at == job.BeforeEffect && in == "await_ready" {
			select {
			case <-reached:
			default:
				close(reached)
				<-goOn
			}
		}
	}
	p.run()
	j := p.ask(snapshotOf{Source: "db1"})
	<-reached
	req, err := p.request(t.Context(), snapshotOf{Source: "db1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.engine.Create(t.Context(), req); err == nil {
		t.Error("a second snapshot was begun")
	}
	close(goOn)
	succeeded(t, p.end(j.ID))
}

func TestServersAreTakenAwayReplicasFirst(t *testing.T) {
	t.Parallel()
	w, p := lab(t)
	p.must(replicaArgs)
	if err := (deletion{Server: "db1"}).args().Check(t.Context(),
		p.flow); errs.ReasonOf(err) != errorsv1.Reason_REASON_IN_USE {
		t.Errorf("deleting a primary with a replica: %v", err)
	}
	if j := p.end(p.ask(deletion{Server: "db1"}).ID); j.State != job.Failed {
		t.Error(states(j))
	}
	if srv := w.server("db1"); srv.State != inventory.ServerReady {
		t.Errorf("%+v", srv)
	}
	p.must(deletion{Server: "db2", Etag: w.server("db2").Etag()})
	if d := w.host("db1").running.disk.data; len(d.accounts) != 0 {
		t.Errorf("accounts are left: %v", d.accounts)
	}
	if srv := w.server("db1"); srv.ReplicationConfigured {
		t.Error("the primary counts as having a replica still")
	}
	old := w.server("db2").ServerID
	p.must(replicaArgs)
	if srv := w.server("db2"); srv.ServerID == old {
		t.Errorf("server_id %d was used again", old)
	}
	p.must(deletion{Server: "db2"})
	p.must(deletion{Server: "db1"})
	if len(w.cloud.volumes) != 0 {
		t.Errorf("volumes are left: %v", w.cloud.volumes)
	}
}

func TestAutoPurgeGoesWithTheFirstReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start().run()
	p.must(primary{Server: "db1", AutoPurge: true})
	if !w.server("db1").BinlogAutoPurge {
		t.Fatal("auto purge was not turned on")
	}
	p.must(replica{Server: "db2", Source: "db1"})
	srv := w.server("db1")
	if srv.BinlogAutoPurge || !srv.ReplicationConfigured {
		t.Errorf("%+v", srv)
	}
	w.keepsBinlogs(t, "after the job")
}

// keepsBinlogs sees that db1's MariaDB deletes no binary logs by itself, now or after a restart or
// a reservation.
func (w *world) keepsBinlogs(t *testing.T, when string) {
	t.Helper()
	h := w.host("db1")
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.file.BinlogExpire != 0 || h.running.conf.BinlogExpire != 0 {
		t.Errorf("%s: binary logs go after %s, after a restart %s", when,
			h.running.conf.BinlogExpire, h.file.BinlogExpire)
	}
}

// The record says that nothing purges only where that is so: MariaDB comes first, and a crash in
// between leaves the safe half.
func TestAutoPurgeEndsInMariaDBBeforeTheRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.start().run()
	first.must(primary{Server: "db1", AutoPurge: true})
	if h := w.host("db1"); h.running.conf.BinlogExpire != hosts.BinlogExpiry(true) ||
		h.file.BinlogExpire != hosts.BinlogExpiry(true) {
		t.Errorf("db1 purges after %s", h.running.conf.BinlogExpire)
	}
	first.stop()
	p := w.start()
	p.fail["SetBinlogExpiry"] = []error{errs.New(errs.Unavailable,
		errorsv1.Reason_REASON_AGENT_UNREACHABLE, "not now")}
	p.at(job.AfterEffect, "plan", func() {
		if !w.server("db1").BinlogAutoPurge { // the first attempt, which failed
			t.Error("the record says that nothing is purged, and MariaDB purges")
		}
	})
	p.at(job.BeforeEffect, "create_machine", func() {
		if h := w.hosts["db1"]; w.server("db1").BinlogAutoPurge ||
			h.running.conf.BinlogExpire != 0 || h.file.BinlogExpire != 0 {
			t.Error("db1 purges after the plan")
		}
		// As if a change that somebody asked for had come late.
		w.hosts["db1"].running.conf.BinlogExpire, w.hosts["db1"].file.BinlogExpire = time.Hour,
			time.Hour
	})
	p.run()
	p.must(replica{Server: "db2", Source: "db1"})
	w.keepsBinlogs(t, "after the job")
	if srv := w.server("db1"); srv.BinlogAutoPurge {
		t.Error("the record says that it is purged")
	}
}

// An older image is refused before a machine is made and before the primary is touched.
func TestPlanStepRefusesAnOlderImage(t *testing.T) {
	t.Parallel()
	for name, withSnapshot := range map[string]bool{"of a snapshot": true, "of a primary": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, p := lab(t)
			args := replica{Server: "db2", Source: "db1", Image: "bookworm"}
			if withSnapshot {
				taken := snapshotIn(t, p.must(snapshotOf{Source: "db1"}))
				args.Snapshot = taken
			}
			mark := w.mark()
			j := p.end(p.ask(args).ID)
			s, _ := j.Step("plan")
			if j.State != job.Failed || s.Failure == nil || s.Failure.Reason != "DATADIR_NEWER" ||
				!strings.Contains(s.Failure.Message, "10.11.14") ||
				!strings.Contains(s.Failure.Hint.String(), "11.8 or newer") {
				t.Errorf("%s: %+v\n%s", j.State, s.Failure, states(j))
			}
			if changes := w.changes(mark); len(changes) > 0 {
				t.Errorf("changes were made: %v", changes)
			}
		})
	}
}

func TestCleanupFlagRemovesEverythingWhenTheJobFails(t *testing.T) {
	t.Parallel()
	w, first := lab(t)
	first.stop()
	p := w.start()
	p.at(job.BeforeEffect, "catch_up", func() {
		c := w.hosts["db2"].running.disk.data.conn
		c.sql, c.sqlErrno, c.sqlError = false, 1062, "Duplicate entry"
	})
	p.run()
	args := replicaArgs
	args.Cleanup = true
	j := p.end(p.ask(args).ID)
	if j.State != job.Failed {
		t.Fatal(states(j))
	}
	if srv := w.server("db2"); srv.State != inventory.ServerDeleted {
		t.Errorf("%s\n%s", srv.State, states(j))
	}
	if len(w.cloud.volumes) != 1 || len(w.host("db1").running.disk.data.accounts) != 0 {
		t.Errorf("left: %v", w.cloud.volumes)
	}
}
