package inventory_test

import (
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

// TestADoubtEndsWithAProofOfItsLevel has one of rows, and one of objects, which each level
// compares.
func TestADoubtEndsWithAProofOfItsLevel(t *testing.T) {
	t.Parallel()
	all := []inventory.VerifyLevel{inventory.VerifyPosition, inventory.VerifySample,
		inventory.VerifyFull}
	for doubt, ended := range map[inventory.VerifyLevel][]bool{
		inventory.VerifyPosition: {true, true, true}, inventory.VerifyFull: {false, false, true}} {
		for i, level := range all {
			s := inventory.Server{DataVolume: "v1"}
			s.DoubtData("LOSSY_SETTINGS", "a filter", doubt, time.Now())
			s.ProveData(inventory.Verification{Level: level})
			if _, is := s.UnprovedData(); is == ended[i] || s.Verified.Level != level {
				t.Errorf("%s after a verification to level %s: %+v", doubt, level, s)
			}
		}
	}
	s := inventory.Server{DataVolume: "v1"}
	s.DoubtData("LOSSY_SETTINGS", "a filter", inventory.VerifyFull, time.Now())
	s.DataVolume = "v2"
	if _, is := s.UnprovedData(); is {
		t.Error("another volume has other data")
	}
}
