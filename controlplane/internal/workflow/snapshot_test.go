package workflow_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	hosts "github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestSnapshotHasItsPointAndKeepsBinlogs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		j := p.Must(snapshotOf{Source: "db1"})
		args := snapshotIn(t, j)
		snap := w.Snapshot(args)
		if err := snap.Usable("db1"); err != nil {
			t.Error(err)
		}
		if snap.Point.Position() != "0-1001-41" || snap.Quiesce.Blocked <= 0 ||
			snap.Reservation == "" {
			t.Errorf("%+v", snap)
		}
		if len(w.Host("db1").Running.Disk.Data.Reserved) != 1 {
			t.Error("the binary logs are not reserved")
		}
		for _, s := range j.Steps {
			mark := w.Mark()
			if _, err := p.Engine.RetryStep(t.Context(), j.ID, s.Kind,
				job.ChangeRequest{Who: "tester"}); err != nil {
				t.Fatal(err)
			}
			succeeded(t, p.End(j.ID))
			if changes := w.Changes(mark); len(changes) > 0 {
				t.Errorf("%s made changes: %v", s.Kind, changes)
			}
		}
		p.Must(replica{Server: "db2", Snapshot: args,
			Verify: inventory.VerifySample})
		if d := w.Host("db1").Running.Disk.Data; len(d.Reserved) != 1 {
			t.Errorf("the snapshot's reservation alone should be left: %v", d.Reserved)
		}
		if srv := w.Server("db2"); srv.State != inventory.ServerReady ||
			srv.StateReason != "verified to level sample" {
			t.Errorf("%+v", srv)
		}
	})
}

// TestNoReplicaIsReadyBeforeItsHistoryIsKnown has an agent that cannot tell the history of the
// primary's binary log for a while: nothing would see another one later.
func TestNoReplicaIsReadyBeforeItsHistoryIsKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, j := planted(t, func(w *world, p *process) {
			looks := 0
			p.OnPoint(func(at job.Point, step string) {
				if at == job.BeforeEffect && step == "finish" {
					w.Mu.Lock()
					defer w.Mu.Unlock()
					looks++
					w.Hosts["db1"].Unknown = looks < 3
				}
			})
		})
		succeeded(t, j)
		if srv := w.Server("db2"); srv.History == "" {
			t.Errorf("it follows an unknown history\n%s", states(p.End(j.ID)))
		}
	})
}

// TestAnAgentThatLostItsStateHoldsAJobUp has the agent of the primary lose its state in the middle
// of the job: the job waits until the history was confirmed, and refuses another one.
func TestAnAgentThatLostItsStateHoldsAJobUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		step, history string
		ends          job.State
	}{
		{"quiesce", "", job.Succeeded}, {"quiesce", "new", job.Succeeded}, // copied after that
		{"prepare_replica", "", job.Succeeded}, {"prepare_replica", "new", job.Failed},
		{"start_replica", "", job.Succeeded}, {"start_replica", "new", job.Failed},
		{"finish", "", job.Succeeded}, {"finish", "new", job.Failed},
	} {
		t.Run(c.step+" "+c.history, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				looks := 0
				_, p, j := planted(t, func(w *world, p *process) {
					p.OnPoint(func(at job.Point, in string) {
						if at != job.BeforeEffect || in != c.step {
							return
						}
						w.Mu.Lock()
						defer w.Mu.Unlock()
						h := w.Hosts["db1"]
						if looks++; looks == 3 {
							h.History = c.history
						}
						h.Unknown = looks < 3
					})
				})
				if j.State != c.ends || looks < 3 {
					t.Errorf("%s after %d looks\n%s", j.State, looks, states(p.End(j.ID)))
				}
			})
		})
	}
}

func TestSnapshotOfAnotherHistoryIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		args := snapshotIn(t, p.Must(snapshotOf{Source: "db1"}))
		p.Must(replica{Server: "db2", Snapshot: args})
		if srv := w.Server("db2"); srv.History == "" || srv.History != w.Snapshot(args).History {
			t.Errorf("the replica follows %q", srv.History)
		}
		w.Host("db1").History = "another"
		j := p.End(p.Ask(replica{Server: "db3", Snapshot: args}).ID)
		s, _ := j.Step("plan")
		if j.State != job.Failed || s.Failure == nil || s.Failure.Reason != "GTID_MISMATCH" ||
			!strings.Contains(s.Failure.Message, "another history") {
			t.Errorf("%+v\n%s", s.Failure, states(j))
		}
		p.Must(replica{Server: "db4", Source: "db1"})
	})
}

func TestSnapshotWhoseHoldAlwaysBreaksLeavesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first := lab(t)
		first.Stop()
		p := w.Start()
		var held atomic.Bool
		p.OnPoint(func(at job.Point, in string) {
			if at == job.AfterEffect && in == "snapshot" && !held.Load() {
				w.Mu.Lock()
				defer w.Mu.Unlock()
				if h := w.Hosts["db1"].Hold; h != nil {
					h.End("the limit was reached")
				}
			}
		})
		p.Run()
		j := p.End(p.Ask(snapshotOf{Source: "db1"}).ID)
		if j.State != job.Failed {
			t.Fatal(states(j))
		}
		args := snapshotIn(t, j)
		if snap := w.Snapshot(args); snap.State != inventory.SnapshotFailed ||
			snap.ProviderID != "" {
			t.Errorf("%+v", snap)
		}
		if len(w.Cloud.Snapshots) != 0 {
			t.Errorf("left: %v", w.Cloud.Snapshots)
		}
		w.CheckPrimaryUntouched(t)

		held.Store(true)
		if _, err := p.Engine.Retry(t.Context(), j.ID, asTester); err != nil {
			t.Fatal(err)
		}
		succeeded(t, p.End(j.ID))
		if snap := w.Snapshot(args); snap.Usable("db1") != nil || snap.Reservation == "" ||
			len(w.Host("db1").Running.Disk.Data.Reserved) != 1 {
			t.Errorf("after a retry: %+v", snap)
		}
	})
}

func TestSecondSnapshotAtTheSameTimeIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first := lab(t)
		first.Stop()
		p := w.Start()
		reached, goOn := make(chan struct{}), make(chan struct{})
		p.OnPoint(func(at job.Point, in string) {
			if at == job.BeforeEffect && in == "await_ready" {
				select {
				case <-reached:
				default:
					close(reached)
					<-goOn
				}
			}
		})
		p.Run()
		j := p.Ask(snapshotOf{Source: "db1"})
		<-reached
		req, err := p.Request(t.Context(), snapshotOf{Source: "db1"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Engine.Create(t.Context(), req); err == nil {
			t.Error("a second snapshot was begun")
		}
		close(goOn)
		succeeded(t, p.End(j.ID))
	})
}

func TestServersAreTakenAwayReplicasFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		p.Must(replicaArgs)
		if err := (deletion{Server: "db1"}).Args().Check(t.Context(),
			p.Flow); errs.ReasonOf(err) != errorsv1.Reason_REASON_IN_USE {
			t.Errorf("deleting a primary with a replica: %v", err)
		}
		if j := p.End(p.Ask(deletion{Server: "db1"}).ID); j.State != job.Failed {
			t.Error(states(j))
		}
		if srv := w.Server("db1"); srv.State != inventory.ServerReady {
			t.Errorf("%+v", srv)
		}
		p.Must(deletion{Server: "db2", Etag: w.Server("db2").Etag()})
		if d := w.Host("db1").Running.Disk.Data; len(d.Accounts) != 0 {
			t.Errorf("accounts are left: %v", d.Accounts)
		}
		if srv := w.Server("db1"); srv.ReplicationConfigured {
			t.Error("the primary counts as having a replica still")
		}
		old := w.Server("db2").ServerID
		p.Must(replicaArgs)
		if srv := w.Server("db2"); srv.ServerID == old {
			t.Errorf("server_id %d was used again", old)
		}
		p.Must(deletion{Server: "db2"})
		p.Must(deletion{Server: "db1"})
		if len(w.Cloud.Volumes) != 0 {
			t.Errorf("volumes are left: %v", w.Cloud.Volumes)
		}
	})
}

func TestAutoPurgeGoesWithTheFirstReplica(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := workflowtest.NewWorld(t)
		p := w.Start().Run()
		p.Must(primary{Server: "db1", AutoPurge: true})
		if !w.Server("db1").BinlogAutoPurge {
			t.Fatal("auto purge was not turned on")
		}
		p.Must(replica{Server: "db2", Source: "db1"})
		srv := w.Server("db1")
		if srv.BinlogAutoPurge || !srv.ReplicationConfigured {
			t.Errorf("%+v", srv)
		}
		w.KeepsBinlogs(t, "after the job")
	})
}

// The record says that nothing purges only where that is so: MariaDB comes first, and a crash in
// between leaves the safe half.
func TestAutoPurgeEndsInMariaDBBeforeTheRecord(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := workflowtest.NewWorld(t)
		first := w.Start().Run()
		first.Must(primary{Server: "db1", AutoPurge: true})
		if h := w.Host("db1"); h.Running.Conf.BinlogExpire != hosts.BinlogExpiry(true) ||
			h.File.BinlogExpire != hosts.BinlogExpiry(true) {
			t.Errorf("db1 purges after %s", h.Running.Conf.BinlogExpire)
		}
		first.Stop()
		p := w.Start()
		p.Fail["SetBinlogExpiry"] = []error{errs.New(errs.Unavailable,
			errorsv1.Reason_REASON_AGENT_UNREACHABLE, "not now")}
		p.At(job.AfterEffect, "plan", func() {
			if !w.Server("db1").BinlogAutoPurge { // the first attempt, which failed
				t.Error("the record says that nothing is purged, and MariaDB purges")
			}
		})
		p.At(job.BeforeEffect, "create_machine", func() {
			if h := w.Hosts["db1"]; w.Server("db1").BinlogAutoPurge ||
				h.Running.Conf.BinlogExpire != 0 || h.File.BinlogExpire != 0 {
				t.Error("db1 purges after the plan")
			}
			// As if a change that somebody asked for had come late.
			w.Hosts["db1"].Running.Conf.BinlogExpire, w.Hosts["db1"].File.BinlogExpire = time.Hour,
				time.Hour
		})
		p.Run()
		p.Must(replica{Server: "db2", Source: "db1"})
		w.KeepsBinlogs(t, "after the job")
		if srv := w.Server("db1"); srv.BinlogAutoPurge {
			t.Error("the record says that it is purged")
		}
	})
}

// An older image is refused before a machine is made and before the primary is touched.
func TestPlanStepRefusesAnOlderImage(t *testing.T) {
	t.Parallel()
	for name, withSnapshot := range map[string]bool{"of a snapshot": true, "of a primary": false} {
		bubbles(t, name, func(t *testing.T) {
			w, p := lab(t)
			args := replica{Server: "db2", Source: "db1", Image: "bookworm"}
			if withSnapshot {
				taken := snapshotIn(t, p.Must(snapshotOf{Source: "db1"}))
				args.Snapshot = taken
			}
			mark := w.Mark()
			j := p.End(p.Ask(args).ID)
			s, _ := j.Step("plan")
			if j.State != job.Failed || s.Failure == nil || s.Failure.Reason != "DATADIR_NEWER" ||
				!strings.Contains(s.Failure.Message, "10.11.14") ||
				!strings.Contains(s.Failure.Hint.String(), "11.8 or newer") {
				t.Errorf("%s: %+v\n%s", j.State, s.Failure, states(j))
			}
			if changes := w.Changes(mark); len(changes) > 0 {
				t.Errorf("changes were made: %v", changes)
			}
		})
	}
}

// TestPlanRefusesALogThatCannotBeRecovered has a primary of before 10.8, with another format of
// InnoDB's log than the image: a copy can be recovered only where MariaDB was stopped for it.
func TestPlanRefusesALogThatCannotBeRecovered(t *testing.T) {
	t.Parallel()
	for mode, refused := range map[inventory.SnapshotMode]bool{inventory.ModeOnline: true,
		inventory.ModeOffline: false} {
		bubbles(t, string(mode), func(t *testing.T) {
			w, p := lab(t)
			w.Hosts["db1"].Binary = "10.6.20"
			args := replica{Server: "db2", Source: "db1", Mode: mode}
			mark := w.Mark()
			if _, err := p.Flow.DryRun(t.Context(), kit.Request{Args: args.Args()}); refused !=
				(errs.ReasonOf(err) == errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE) {
				t.Errorf("the dry run says %v", err)
			}
			j := p.End(p.Ask(args).ID)
			if !refused {
				succeeded(t, j)
				return
			}
			s, _ := j.Step("plan")
			if j.State != job.Failed || s.Failure == nil ||
				s.Failure.Reason != "SNAPSHOT_UNUSABLE" ||
				!strings.Contains(s.Failure.Message, "10.6.20") ||
				!strings.Contains(s.Failure.Hint.String(), "--mode offline") {
				t.Errorf("%s: %+v\n%s", j.State, s.Failure, states(j))
			}
			if changes := w.Changes(mark); len(changes) > 0 {
				t.Errorf("changes were made: %v", changes)
			}
		})
	}
}

func TestCleanupFlagRemovesEverythingWhenTheJobFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first := lab(t)
		first.Stop()
		p := w.Start()
		p.At(job.BeforeEffect, "catch_up", func() {
			c := w.Hosts["db2"].Running.Disk.Data.Conn
			c.SQL, c.SQLErrno, c.SQLError = false, 1062, "Duplicate entry"
		})
		p.Run()
		args := replicaArgs
		args.Cleanup = true
		j := p.End(p.Ask(args).ID)
		if j.State != job.Failed {
			t.Fatal(states(j))
		}
		if srv := w.Server("db2"); srv.State != inventory.ServerDeleted {
			t.Errorf("%s\n%s", srv.State, states(j))
		}
		if len(w.Cloud.Volumes) != 1 || len(w.Host("db1").Running.Disk.Data.Accounts) != 0 {
			t.Errorf("left: %v", w.Cloud.Volumes)
		}
	})
}
