//go:build lab

package nspawn_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

func TestBookwormBootsToMariaDB(t *testing.T) {
	t.Parallel()
	p := newLab(t, "bookworm")
	if err := p.BuildImage(t.Context(), "bookworm", func(line string) { t.Log(line) }); err != nil {
		t.Fatal(err)
	}
	m := createMachine(t, p, "db1", "bookworm-data")
	untilState(t, p, m.ID, provider.MachineRunning)
	if version := answers(t, p, m.ID, "mariadb", "-NBe",
		"SELECT VERSION()"); !strings.HasPrefix(version, "10.11") {
		t.Errorf("MariaDB is %s", version)
	}
	answers(t, p, m.ID, "findmnt", "/srv/mariadb")
}
