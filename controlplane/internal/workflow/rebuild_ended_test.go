package workflow_test

import (
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/replicate"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// TestRebuildThatEndsBeforeItTookAnythingOffLeavesAllAsItWas fails after the new volume was
// attached, before the old one was touched; a retry makes another one.
func TestRebuildThatEndsBeforeItTookAnythingOffLeavesAllAsItWas(t *testing.T) {
	t.Parallel()
	for _, again := range []string{"retry", "rebuild", "fails again"} {
		bubbles(t, again, func(t *testing.T) {
			w, p, _, old := broken(t, func(*host) {})
			before := w.Server("db2")
			p.Run()
			ended := func(j job.Job) {
				t.Helper()
				if j.State != job.Failed {
					t.Fatalf("job is %s\n%s", j.State, states(j))
				}
				srv := w.Server("db2")
				if srv.State != inventory.ServerDegraded || srv.DataVolume != old.ID ||
					srv.Verified != before.Verified || srv.Verified.Level == "" {
					t.Errorf("it was %+v, and is %+v", before, srv)
				}
				if _, volumes, _ := w.Left("db2"); volumes != 1 {
					t.Errorf("it has %d volumes\n%s", volumes, states(j))
				}
			}
			blind(p)
			j := p.End(p.Ask(rebuild{Server: "db2"}).ID)
			ended(j)
			switch again {
			case "fails again":
				blind(p)
				retried(t, p, j.ID)
				ended(p.End(j.ID))
				return
			case "retry":
				retried(t, p, j.ID)
				succeeded(t, p.End(j.ID))
			case "rebuild":
				p.Must(rebuild{Server: "db2"})
			}
			checkGone(t, w, old)
			w.CheckReplica(t, "db2")
		})
	}
}

// TestVerificationThatWasRefutedIsNotGivenBack has a rebuild end untouched, the replica lose its
// verification to a difference that a verification found, and the retry end untouched as well.
func TestVerificationThatWasRefutedIsNotGivenBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _, _ := broken(t, func(*host) {})
		p.Run()
		refuseAt(p, "quiesce", "Status", "Hold")
		j := p.End(p.Ask(rebuild{Server: "db2"}).ID)
		changeServer(t, w, "db2", func(srv *inventory.Server) error {
			srv.Verified = inventory.Verification{}
			return nil
		})
		refuseAt(p, "quiesce", "Status", "Hold")
		retried(t, p, j.ID)
		if j := p.End(j.ID); j.State != job.Failed {
			t.Fatalf("job is %s\n%s", j.State, states(j))
		}
		if srv := w.Server("db2"); srv.Verified.Level != "" {
			t.Errorf("it is verified again: %+v", srv)
		}
	})
}

// TestReplicaThatIsIllRightAfterItWasReadyLosesItsOldVolume has the monitor find the replica ill
// between its proof and the last step.
func TestReplicaThatIsIllRightAfterItWasReadyLosesItsOldVolume(t *testing.T) {
	t.Parallel()
	for _, state := range []inventory.ServerState{inventory.ServerDegraded,
		inventory.ServerUnreachable} {
		bubbles(t, string(state), func(t *testing.T) {
			w, p, _, old := broken(t, func(*host) {})
			p.At(job.BeforeEffect, "settle", func() {
				changeServer(t, w, "db2", func(srv *inventory.Server) error {
					return srv.SetState(state, "it is ill")
				})
			})
			p.Run()
			p.Must(rebuild{Server: "db2"})
			checkGone(t, w, old)
		})
	}
}

func retried(t *testing.T, p *process, id string) {
	t.Helper()
	if _, err := p.Engine.Retry(t.Context(), id, asTester); err != nil {
		t.Fatal(err)
	}
}

// blind makes the agent refuse to tell its devices to the next swap_volume, once the new volume is
// attached.
func blind(p *process) {
	p.At(job.BeforeEffect, "swap_volume", func() {
		p.Fail["BlockDevices"] = []error{errs.New(errs.FailedPrecondition,
			errorsv1.Reason_REASON_MARIADB_SETTING, "it is not as it should be")}
	})
}

// TestLostConnectionIsSetUpAgain has a READY replica lose its master.info, and does what its
// finding names.
func TestLostConnectionIsSetUpAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, j, _ := broken(t, func(h *host) { h.Running.Disk.Data.Conn = nil })
		p.Run()
		for _, action := range replicate.Reconnect(j.ID) {
			if action.Args["name"] != "jobs/"+j.ID {
				t.Errorf("%+v", action)
			}
			p.Alone(j.ID, action.Args["step"])
		}
		w.CheckReplica(t, "db2")
	})
}
