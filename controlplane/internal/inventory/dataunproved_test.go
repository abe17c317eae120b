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
			now := time.Now()
			s.DoubtData("LOSSY_SETTINGS", "a filter", doubt, now)
			s.ProveData(inventory.Verification{Level: level}, now.Add(-time.Second))
			if _, is := s.UnprovedData(); !is {
				t.Errorf("%s: one to level %s that began before ended it", doubt, level)
			}
			s.ProveData(inventory.Verification{Level: level, Open: 1}, now.Add(time.Second))
			if _, is := s.UnprovedData(); !is {
				t.Errorf("%s: one to level %s that left a table out ended it", doubt, level)
			}
			s.ProveData(inventory.Verification{Level: level}, now.Add(time.Second))
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

// TestADoubtOfRowsIsNotReplacedByOneOfObjects, which any verification would end.
func TestADoubtOfRowsIsNotReplacedByOneOfObjects(t *testing.T) {
	t.Parallel()
	s, now := inventory.Server{DataVolume: "v1"}, time.Now()
	s.DoubtData("DATA_DIFFERS", "a view", inventory.VerifyPosition, now)
	s.DoubtData("LOSSY_SETTINGS", "a filter", inventory.VerifyFull, now)
	s.DoubtData("DATA_DIFFERS", "a view", inventory.VerifyPosition, now.Add(time.Second))
	u, is := s.UnprovedData()
	if !is || u.Code != "LOSSY_SETTINGS" || u.Level != inventory.VerifyFull ||
		!u.Since.Equal(now.Add(time.Second)) {
		t.Errorf("on record: %+v", u)
	}
}
