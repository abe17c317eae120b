//go:build lab

package mariadbtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
		found, err := filepath.Glob("/var/cache/understudy/images/" + release +
			"-????????????/rootfs")
		must(t, err)
		if len(found) == 0 {
			t.Fatalf("no image of a host with %s: run `make setup`, or name roots in %s", release,
				RootsEnv)
		}
		roots = append(roots,
			slices.MaxFunc(found, func(a, b string) int { return modified(t, a) - modified(t, b) }))
	}
	return roots
}

func modified(t testing.TB, path string) int {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return int(info.ModTime().Unix())
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
