package systemd_test

import (
	"os"
	"path/filepath"
	"regexp"
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

// Memory that the agent or one of its tools takes costs the agent its life, and not MariaDB, which
// has the score of most: 0.
func TestTheAgentDiesBeforeMariaDB(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("understudy-agent.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`MemoryMax=[1-5][0-9]%`, `TasksMax=[0-9]+`,
		`OOMScoreAdjust=[1-9][0-9]*`, `Restart=always`} {
		if !regexp.MustCompile(`(?m)^` + line + `$`).Match(text) {
			t.Errorf("the unit has no %s", line)
		}
	}
}
