package workflow_test

import (
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// TestCleanupFlagSparesAServerThatWasReady redoes a step of a job that was asked to remove what it
// made when it fails, once what it made is in use.
func TestCleanupFlagSparesAServerThatWasReady(t *testing.T) {
	t.Parallel()
	asks := map[string]workflowtest.Asked{
		"db2": replica{Server: "db2", Source: "db1", Cleanup: true},
		"db3": primary{Server: "db3", Cleanup: true},
	}
	for server, asked := range asks {
		for _, step := range []string{"mount_data", "swap_volume", "create_machine"} {
			bubbles(t, server+" "+step, func(t *testing.T) {
				w, first := lab(t)
				j := first.Must(asked)
				first.Stop()
				vol := volumeOf(t, w, server)
				p := w.Start()
				refuseIn(p, "start_mariadb")
				p.Run()
				redo(t, p, j.ID, server, step)
				if j = p.End(j.ID); j.State != job.Failed {
					t.Fatalf("job is %s\n%s", j.State, states(j))
				}
				if srv := w.Server(server); srv.State != inventory.ServerFailed {
					t.Errorf("%s is %s", server, srv.State)
				}
				if !atProvider(w, vol) {
					t.Errorf("volume %s is gone at the provider", vol.ProviderID)
				}
			})
		}
	}
}

// TestCleanupFlagSparesAServerWhoseRedoIsCancelled cancels instead.
func TestCleanupFlagSparesAServerWhoseRedoIsCancelled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		j := p.Must(primary{Server: "db3", Cleanup: true})
		vol := volumeOf(t, w, "db3")
		redo(t, p, j.ID, "db3", "mount_data")
		if _, err := p.Engine.Cancel(t.Context(), j.ID, asTester); err != nil {
			t.Fatal(err)
		}
		p.End(j.ID)
		if !atProvider(w, vol) {
			t.Errorf("volume %s is gone at the provider", vol.ProviderID)
		}
	})
}

// TestReplacedVolumeOfAPrimaryIsGuarded replaces the volume of a primary that failed after its
// MariaDB was up, in vain: the volume that is kept has its data still.
func TestReplacedVolumeOfAPrimaryIsGuarded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, j := brokenOff(t, primary{Server: "db3"}, "finish")
		kept := volumeOf(t, w, "db3")
		refuseIn(p, "start_mariadb")
		redo(t, p, j.ID, "db3", "swap_volume")
		if j = p.End(j.ID); j.State != job.Failed {
			t.Fatalf("job is %s\n%s", j.State, states(j))
		}
		checkKept(t, w, kept)
		checkGuarded(t, w, p, j.ID, "db3", func(req job.ChangeRequest) (job.Job, error) {
			return p.Engine.Cleanup(t.Context(), j.ID, req)
		})
		p.End(j.ID)
	})
}

// TestRetriedVerificationTouchesNothingThatItDidNotStop retries a verification that ended, of a
// replica whose replication its operator has stopped since.
func TestRetriedVerificationTouchesNothingThatItDidNotStop(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(p *process, id string) error{
		"retry": func(p *process, id string) error {
			_, err := p.Engine.Retry(p.W.T.Context(), id, asTester)
			return err
		},
		"redo": func(p *process, id string) error {
			_, err := p.Engine.Redo(p.W.T.Context(), id, "verify", asTester)
			return err
		},
		"alone": func(p *process, id string) error {
			_, err := p.Engine.RetryStep(p.W.T.Context(), id, "verify", asTester)
			return err
		},
	} {
		bubbles(t, name, func(t *testing.T) {
			w, p, _ := withReplica(t)
			w.Mu.Lock()
			data := w.Hosts["db2"].Running.Disk.Data
			data.Tables["shop.items"]++
			w.Mu.Unlock()
			j := p.End(p.Ask(verification{Replica: "db2", Level: inventory.VerifyFull}).ID)
			w.Mu.Lock()
			data.Conn.IO, data.Conn.SQL = false, false
			w.Mu.Unlock()
			mark := w.Mark()
			if err := ask(p, j.ID); err != nil {
				t.Fatal(err)
			}
			if j = p.End(j.ID); j.State != job.Failed {
				t.Errorf("job is %s\n%s", j.State, states(j))
			}
			if changes := w.Changes(mark); len(changes) > 0 {
				t.Errorf("it changed %v\n%s", changes, states(j))
			}
		})
	}
}

// TestVerificationAloneLetsReplicationGoOn runs the comparison alone, and makes it fail where the
// replica stands still.
func TestVerificationAloneLetsReplicationGoOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first, _ := withReplica(t)
		j := first.Must(verification{Replica: "db2", Level: inventory.VerifyFull})
		first.Stop()
		p := w.Start()
		p.Behind["StopReplication"] = func() {
			w.Mu.Lock()
			defer w.Mu.Unlock()
			p.Fail["Status"] = []error{errs.New(errs.FailedPrecondition,
				errorsv1.Reason_REASON_MARIADB_SETTING, "it is not as it should be")}
		}
		p.Run()
		if _, err := p.Engine.RetryStep(t.Context(), j.ID, "verify", asTester); err != nil {
			t.Fatal(err)
		}
		p.End(j.ID)
		checkReplicates(t, w)
	})
}

// TestVerificationLeavesALaterServerAlone retries the verification of a deleted replica, whose name
// another one has by now.
func TestVerificationLeavesALaterServerAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := withReplica(t)
		w.Mu.Lock()
		w.Hosts["db2"].Running.Disk.Data.Tables["shop.items"]++
		w.Mu.Unlock()
		j := p.End(p.Ask(verification{Replica: "db2", Level: inventory.VerifyFull}).ID)
		p.Must(deletion{Server: "db2"})
		p.Must(replica{Server: "db2", Source: "db1"})
		before, mark := w.Server("db2").Verified, w.Mark()
		if _, err := p.Engine.Retry(t.Context(), j.ID, asTester); err != nil {
			t.Fatal(err)
		}
		if j = p.End(j.ID); j.State != job.Failed {
			t.Errorf("job is %s\n%s", j.State, states(j))
		}
		if changes := w.Changes(mark); len(changes) > 0 || w.Server("db2").Verified != before {
			t.Errorf("it changed %v; the record says %+v", changes, w.Server("db2").Verified)
		}
	})
}

// TestVolumeThatWasInUseIsNotFormatted redoes the formatting of a primary's volume, on which
// nothing is found any more.
func TestVolumeThatWasInUseIsNotFormatted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		j := p.Must(primary{Server: "db3"})
		vol := volumeOf(t, w, "db3")
		w.Mu.Lock()
		*w.Cloud.Disks[vol.ProviderID] = workflowtest.Disk{}
		w.Mu.Unlock()
		mark := w.Mark()
		if _, err := p.Engine.RetryStep(t.Context(), j.ID, "format_volume", asTester); err != nil {
			t.Fatal(err)
		}
		p.End(j.ID)
		if changes := w.Changes(mark); len(changes) > 0 {
			t.Errorf("it changed %v", changes)
		}
	})
}
