//go:build lab

package mariadbtest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab"
)

// RootsEnv names root directories with colons between, one a version, oldest first; "/" is the host
// itself. Tests give its value to Roots.
const RootsEnv = "UNDERSTUDY_MARIADB_ROOTS"

// Roots are the root directories that MariaDB is run from: those named, else the newest image of
// each release.
func Roots(t testing.TB, named string) []string {
	t.Helper()
	if named != "" {
		return strings.Split(named, ":")
	}
	var roots []string
	for _, release := range []string{"bookworm", "trixie"} {
		newest := lab.NewestImage(release)
		if newest == "" {
			t.Fatalf("no image of a host with %s: run `make setup`, or name roots in %s", release,
				RootsEnv)
		}
		roots = append(roots, newest)
	}
	return roots
}

// Name of the version in a root, for subtests.
func Name(root string) string {
	if root == "/" {
		return "host"
	}
	if base := filepath.Base(root); base != "rootfs" {
		return base
	}
	release, _, _ := strings.Cut(filepath.Base(filepath.Dir(root)), "-")
	return release
}
