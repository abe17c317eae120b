package systemd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Both programs have keys in memory: no unit lets them dump it.
func TestNoUnitDumpsCore(t *testing.T) {
	t.Parallel()
	units, err := filepath.Glob("*.service")
	if err != nil || len(units) != 2 {
		t.Fatalf("the units are %v, %v", units, err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "\nLimitCORE=0\n") {
			t.Errorf("%s has no LimitCORE=0", unit)
		}
	}
}
