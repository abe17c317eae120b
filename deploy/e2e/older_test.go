//go:build lab

package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestLongOlderPrimary makes replicas of a MariaDB 10.11 on a Debian 12 host: one of the same
// series, and one of 11.8, whose copy has its system tables upgraded before it replicates. A 10.11
// replica of an 11.8 primary is refused before anything is made.
func TestLongOlderPrimary(t *testing.T) {
	t.Parallel()
	l := newLab(t, "older")
	l.run("server", "create", "old", "--image", "bookworm", "--filesystem", "xfs")
	l.writer("old")
	l.part("a replica of the same series, from a masked unit", func(l *lab, t *testing.T) {
		l.run("replica", "create", "same", "--of", "old", "--image", "bookworm-masked", "--verify",
			"full")
		l.same("old", "same")
	})
	l.part("a newer replica", func(l *lab, t *testing.T) {
		l.run("replica", "create", "newer", "--of", "old", "--image", "trixie-masked", "--verify",
			"full")
		if got := l.server("newer"); !strings.HasPrefix(got.GetDatadirVersion(), "11.8") {
			t.Errorf("its datadir is of %s", got.GetDatadirVersion())
		}
		if n := l.starts("newer"); n != 1 {
			t.Errorf("MariaDB was started %d times, not once", n)
		}
		l.same("old", "newer")
	})
	l.part("never back", func(l *lab, t *testing.T) {
		l.run("server", "create", "new", "--image", "trixie")
		before := len(l.objects("machine"))
		begin := time.Now()
		l.refuse([]string{"DATADIR_NEWER", "hint"}, "replica", "create", "back", "--of", "new",
			"--image", "bookworm")
		t.Logf("refused after %s", time.Since(begin))
		if after := len(l.objects("machine")); after != before {
			t.Errorf("%d machines were made for it", after-before)
		}
	})
}
