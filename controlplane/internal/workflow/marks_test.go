package workflow_test

import (
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

// TestAProofOfTheJobEndsWhatWasNotedBefore has marks of a replica noted while the job makes it: one
// before its comparison, one meanwhile, and one that is there when the step is run again later.
func TestAProofOfTheJobEndsWhatWasNotedBefore(t *testing.T) {
	t.Parallel()
	for level, proved := range map[inventory.VerifyLevel]int64{inventory.VerifyFull: 3,
		inventory.VerifySample: 0} {
		bubbles(t, string(level), func(t *testing.T) {
			w, first := lab(t)
			first.Stop()
			p := w.Start()
			note := func(number int64) func() {
				return func() {
					w.Hosts["db2"].Marks = replication.Marks{Record: "r", Last: number}
				}
			}
			p.At(job.BeforeEffect, "verify", note(3))
			p.Behind["Inventory"] = func() {
				w.Mu.Lock()
				defer w.Mu.Unlock()
				note(4)()
			}
			p.Run()
			j := p.Must(replica{Server: "db2", Source: "db1", Verify: level})
			want := inventory.MarksSeen{}
			if proved > 0 {
				want = inventory.MarksSeen{Record: "r", Number: proved,
					Volume: w.Server("db2").DataVolume}
			}
			if seen := w.Server("db2").MarksSeen; seen != want {
				t.Errorf("its record has %+v, not %+v", seen, want)
			}
			w.Mu.Lock()
			note(5)()
			w.Mu.Unlock()
			p.Alone(j.ID, "verify") // it is in service: the monitor compares its marks
			if seen := w.Server("db2").MarksSeen; seen != want {
				t.Errorf("run again, its record has %+v, not %+v", seen, want)
			}
		})
	}
}
