//go:build lab

package observability_test

import (
	"os/exec"
	"strings"
	"testing"
)

func TestPromtoolTakesTheRules(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"check", "rules", "rules.yml"},
		{"test", "rules", "rules_test.yml"}} {
		out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput()
		if err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
