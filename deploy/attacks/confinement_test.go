//go:build lab

package attacks

import (
	"fmt"
	"os/exec"
	"testing"
)

// Somebody who has taken a program over gets no further than its unit lets it.

func TestTakenOverProgramsAreConfined(t *testing.T) {
	for unit, tenths := range map[string]int{"understudy-agent": 50, "understudy": 25} {
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security",
			"--offline=true", "--no-pager", fmt.Sprintf("--threshold=%d", tenths),
			"../systemd/"+unit+".service").CombinedOutput()
		if err != nil {
			t.Errorf("%s is exposed by more than %d tenths: %v\n%s", unit, tenths, err, out)
		}
	}
}
