//go:build lab

package faults

import (
	"strings"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// versionRows are about replicas whose MariaDB is not of its primary's series, or not on the usual
// port.
func versionRows() []row {
	return []row{
		{
			id: "H14", variant: "10.11 datadir, 11.8 binary", run: (*lab).newerReplica,
			planted: "a replica of a 10.11 primary is made from an image with MariaDB 11.8, over " +
				"TLS",
			happens: "the system tables are upgraded without a word in the binary log; then it " +
				"replicates; started once",
			why: "mariadb-upgrade is run by a step that sees the datadir's own version",
		},
		{
			id: "H14", variant: "10.11 under 10.11", run: (*lab).olderPair,
			planted: "a replica of a 10.11 primary is made from an image with MariaDB 10.11",
			happens: "the upgrade is skipped, and the step says so",
			why:     "datadir and binary are of one series",
		},
		{
			id: "H14", variant: "11.8 under 11.8", quick: true,
			run:     func(l *lab) { l.skipsUpgrade(l.standJob()) },
			planted: "the standing replica's image has the primary's MariaDB",
			happens: "the upgrade is skipped, and the step says so",
			why:     "datadir and binary are of one series",
		},
		{
			id: "H19", variant: "primary on 3307, replica on 3308", run: (*lab).otherPorts,
			planted: "MariaDB of the primary listens on 3307, that of the replica shall listen " +
				"on 3308",
			happens: "converges: each on its own port",
			why:     "the port is the record's, never assumed",
		},
		{
			id: "H19", variant: "replica of a primary on 3306", run: (*lab).otherPort,
			planted: "the replica of a primary on 3306 shall listen on 3310",
			happens: "converges",
			why:     "a replica inherits nothing of its source's addresses",
		},
	}
}

func (l *lab) newerReplica() {
	old := l.another("--image", "bookworm")
	name := l.name()
	upgrade := stepOf(l.succeeds(l.detach("replica", "create", name, "--of", old, "--image",
		"trixie-masked", "--verify", "full")), "upgrade_mariadb")
	// Debian's start script may have been first
	l.t.Logf("upgrade_mariadb: %s, changed %v", upgrade.GetState(), upgrade.GetChanged())
	if version := l.sql(name, "SELECT VERSION()"); !strings.HasPrefix(version, "11.8") {
		l.t.Errorf("MariaDB of %s is %s", name, version)
	}
	if of := l.maybe(name, "cat", "/var/lib/mysql/mariadb_upgrade_info"); !strings.HasPrefix(of,
		"11.8") {
		l.t.Errorf("the datadir of %s is of %q", name, of)
	}
	if n := l.starts(name); n != 1 {
		l.t.Errorf("MariaDB was started %d times, not once", n)
	}
	if status := l.replicaStatus(name); !strings.Contains(status, "Master_SSL_Allowed: Yes") ||
		!strings.Contains(status, "Master_SSL_Verify_Server_Cert: Yes") {
		l.t.Errorf("it replicates without TLS: %s", status)
	}
	l.sameAs(old, name)
}

func (l *lab) olderPair() {
	old := l.another("--image", "bookworm")
	name := l.name()
	l.run("replica", "create", name, "--of", old, "--image", "bookworm-masked", "--verify", "full")
	l.skipsUpgrade(l.jobOf(name))
	l.sameAs(old, name)
}

// skipsUpgrade expects that a job that ended well has left the upgrade out, and says why.
func (l *lab) skipsUpgrade(job string) {
	l.t.Helper()
	step := stepOf(l.succeeds("jobs/"+strings.TrimPrefix(job, "jobs/")), "upgrade_mariadb")
	if step.GetState() != cpv1.Step_STATE_SKIPPED ||
		!strings.Contains(step.String(), "are both of") {
		l.t.Errorf("upgrade_mariadb is %s: %s", step.GetState(), step)
	}
}

func (l *lab) otherPorts() {
	source := l.another("--image", "trixie", "--port", "3307")
	name := l.name()
	l.run("replica", "create", name, "--of", source, "--image", "trixie-masked", "--port", "3308")
	l.listens(source, "3307")
	l.listens(name, "3308")
	l.sameAs(source, name)
}

func (l *lab) otherPort() {
	name := l.wholeJob("--image", "trixie-masked", "--port", "3310")
	l.listens(name, "3310")
}

// listens expects a host's MariaDB on this port alone.
func (l *lab) listens(host, port string) {
	l.t.Helper()
	if got := l.sql(host, "SELECT @@port"); got != port {
		l.t.Errorf("MariaDB of %s has port %s, not %s", host, got, port)
	}
	if socket := l.onNetwork(host, "ss", "--listening", "--tcp", "--numeric",
		"--no-header"); !strings.Contains(socket, ":"+port+" ") || port != "3306" &&
		strings.Contains(socket, ":3306 ") {
		l.t.Errorf("%s listens on:\n%s", host, socket)
	}
}
