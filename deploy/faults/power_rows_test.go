//go:build lab

package faults

// powerRows are about what a loss of power leaves of a replica: the names of files, and not what
// was in the page cache.
func powerRows() []row {
	return []row{
		{
			id: "V2", variant: "torn relay state of a READY replica", run: (*lab).tornReady,
			planted: "relay-log.info names a relay log that is missing, the index has zeros, " +
				"multi-master.info is empty; then MariaDB starts",
			happens: "replication starts by itself, without a job; equal",
			why:     "the position is in a transactional table, relay logs can be fetched again",
		},
		{
			id: "V2", variant: "torn relay state in catch_up", run: func(l *lab) {
				l.tornInJob(": > relay-log.info; : > multi-master.info; rm -f " +
					"understudy-relay-bin.0*")
			},
			planted: "in catch_up relay-log.info and multi-master.info are empty and the relay " +
				"logs are gone; MariaDB starts again",
			happens: "converges",
			why:     "a step that starts replication discards what is torn",
		},
		{
			id: "V2", variant: "master.info lost in catch_up", run: func(l *lab) {
				l.tornInJob(": > master.info; : > relay-log.info")
			},
			planted: "in catch_up master.info and relay-log.info are empty; MariaDB starts again",
			happens: "converges: the account gets a new password on both sides",
			why:     "settings that are lost are given again, not guessed",
		},
	}
}

func (l *lab) tearFiles(name, how string) {
	l.t.Helper()
	l.exec(name, "systemctl", "stop", mariadbUnit)
	l.exec(name, "sh", "-c", "cd /var/lib/mysql; "+how)
	l.exec(name, "systemctl", "start", mariadbUnit)
}

func (l *lab) tornReady() {
	name := l.stand()
	l.tearFiles(name, `printf '5\n./understudy-relay-bin.009999\n4\nx\n4\n0\n' > relay-log.info; `+
		`head -c 4096 /dev/zero > understudy-relay-bin.index; : > multi-master.info`)
	l.whole(name)
}

func (l *lab) tornInJob(how string) {
	m := l.makeUntil("before_effect:catch_up")
	l.tearFiles(m.name, how)
	l.goesOn(m)
}
