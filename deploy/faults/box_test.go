//go:build lab

package faults

import (
	"context"
	"os/exec"
	"strings"
)

// boxCommand runs a program of this box.
func boxCommand(ctx context.Context, argv ...string) (string, error) {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
