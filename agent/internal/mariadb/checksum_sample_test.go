package mariadb

import (
	"strconv"
	"testing"
)

// TestSampleStaysWithinItsBytes has tables of which one is larger than the whole sample.
func TestSampleStaysWithinItsBytes(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for seed := range int64(40) {
		all := []candidate{{tableName: tableName{"a", "huge"}, bytes: 1 << 40}}
		for i := range 10 {
			all = append(all, candidate{tableName: tableName{"a", strconv.Itoa(i)}, bytes: 30})
		}
		var bytes int64
		taken := 0
		for _, c := range sampled(all, 100, seed) {
			if c.leftOut == "" {
				bytes += c.bytes
				taken++
				seen[c.name] = true
			}
		}
		if bytes > 100 || taken != 3 || seen["huge"] {
			t.Errorf("seed %d: %d tables of %d bytes", seed, taken, bytes)
		}
	}
	if len(seen) != 10 {
		t.Errorf("40 samples had %d tables of 10", len(seen))
	}
	many := make([]candidate, 3*mostSampled)
	taken := 0
	for _, c := range sampled(many, 1, 1) {
		if c.leftOut == "" {
			taken++
		}
	}
	if taken != mostSampled {
		t.Errorf("%d empty tables are in a sample", taken)
	}
}
