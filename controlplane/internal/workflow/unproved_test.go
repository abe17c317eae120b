package workflow_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// TestServerIsNotReadyWhileItsProofIsRedone looks at the record as soon as the redo is accepted,
// and then behind each step up to the proof.
func TestServerIsNotReadyWhileItsProofIsRedone(t *testing.T) {
	t.Parallel()
	for server := range making {
		for _, step := range []string{"plan", "swap_volume", "start_mariadb", "finish"} {
			bubbles(t, server+" "+step, func(t *testing.T) {
				w, p, j, _ := made(t, server)
				redo(t, p, j.ID, server, step)
				look := func(when string) {
					srv := w.Server(server)
					if srv.State != inventory.ServerProvisioning ||
						!strings.Contains(srv.StateReason, j.ID) {
						t.Errorf("%s %s is %s: %q", when, server, srv.State, srv.StateReason)
					}
					early := slices.Contains([]string{"redone", "swap_volume", "catch_up"}, when)
					if early && step != "finish" && srv.Verified != (inventory.Verification{}) {
						t.Errorf("%s the record says %+v", when, srv.Verified)
					}
				}
				look("redone")
				for _, s := range j.Steps {
					if s.Kind != "finish" && s.Kind != "settle" {
						p.At(job.AfterEffect, s.Kind, func() { look(s.Kind) })
					}
				}
				p.Run()
				succeeded(t, p.End(j.ID))
				if srv := w.Server(server); srv.State != inventory.ServerReady ||
					(srv.Verified == inventory.Verification{}) != (server == "db3") {
					t.Errorf("in the end %s is %s, verified %+v", server, srv.State, srv.Verified)
				}
			})
		}
	}
}

// TestServerStaysReadyWhereNothingIsProvedAgain runs what leads to no proof.
func TestServerStaysReadyWhereNothingIsProvedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, j, _ := made(t, "db2")
		before := w.Server("db2").Verified
		p.At(job.BeforeEffect, "settle", func() {
			if srv := w.Server("db2"); srv.State != inventory.ServerReady ||
				srv.Verified != before {
				t.Errorf("db2 is %s, verified %+v", srv.State, srv.Verified)
			}
		})
		p.Run()
		redo(t, p, j.ID, "db2", "settle")
		succeeded(t, p.End(j.ID))
		p.Alone(j.ID, "mount_data")
		if srv := w.Server("db2"); srv.State != inventory.ServerReady {
			t.Errorf("db2 is %s", srv.State)
		}
	})
}

// TestRetriedMakingIsUnderWay retries a job that failed before its server was READY.
func TestRetriedMakingIsUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, j := brokenOff(t, replica{Server: "db2", Source: "db1"}, "finish")
		if srv := w.Server("db2"); srv.State != inventory.ServerFailed {
			t.Errorf("db2 is %s", srv.State)
		}
		if _, err := p.Engine.Retry(t.Context(), j.ID, asTester); err != nil {
			t.Fatal(err)
		}
		if srv := w.Server("db2"); srv.State != inventory.ServerProvisioning {
			t.Errorf("db2 is %s", srv.State)
		}
		succeeded(t, p.End(j.ID))
	})
}

// TestBinlogsAreReservedForARedo replaces the volume of a replica, or goes on with the one that it
// has.
func TestBinlogsAreReservedForARedo(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"create_machine", "swap_volume", "mount_data",
		"prepare_replica"} {
		bubbles(t, step, func(t *testing.T) {
			w, p, j, _ := made(t, "db2")
			p.At(job.AfterEffect, step, func() {
				if kept := w.Hosts["db1"].Running.Disk.Data.Reserved; len(kept) != 1 {
					t.Errorf("behind %s the reservations are %v", step, kept)
				}
			})
			p.Run()
			redo(t, p, j.ID, "db2", step)
			succeeded(t, p.End(j.ID))
			w.CheckReplica(t, "db2")
		})
	}
}

// TestPurgedBinlogsRefuseANewCopyAlone purges what the snapshot needs, and the replica has applied.
func TestPurgedBinlogsRefuseANewCopyAlone(t *testing.T) {
	t.Parallel()
	for step, want := range map[string]job.State{"swap_volume": job.Failed,
		"mount_data": job.Succeeded, "prepare_replica": job.Succeeded} {
		bubbles(t, step, func(t *testing.T) {
			w, p, j, vol := made(t, "db2")
			p.Run()
			w.Mu.Lock()
			d := w.Hosts["db1"].Running.Disk.Data
			d.Write(w.Hosts["db1"].Running.Conf.ServerID, "shop.orders", 99)
			w.Mu.Unlock()
			p.Must(verification{Replica: "db2"})
			w.Mu.Lock()
			d.Purge()
			w.Mu.Unlock()
			redo(t, p, j.ID, "db2", step)
			if j = p.End(j.ID); j.State != want {
				t.Fatalf("job is %s\n%s", j.State, states(j))
			}
			if s, _ := j.Step(step); want == job.Failed && (s.Failure == nil || "REASON_"+
				s.Failure.Reason != errorsv1.Reason_REASON_BINLOGS_PURGED.String()) {
				t.Errorf("%s failed with %+v", step, s.Failure)
			}
			if now := volumeOf(t, w, "db2"); now != vol || !atProvider(w, vol) {
				t.Errorf("its volume was %+v, and is %+v", vol, now)
			}
		})
	}
}
