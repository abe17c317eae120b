//go:build lab

package faults

import (
	"context"
	"strings"
	"time"
)

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
			id: "V2", variant: "master.info lost on a READY replica", run: (*lab).lostSettings,
			planted: "master.info and relay-log.info of a READY replica are gone; MariaDB starts",
			happens: "DEGRADED, naming the job's steps that set the connection up again; READY " +
				"and equal once they were run",
			why: "the password is kept nowhere else: the account gets a new one on both sides",
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
		{
			id: "V3", variant: "start during an offline hold", run: (*lab).startWhileHeld,
			planted: "MariaDB is stopped and its filesystem frozen for an offline snapshot; " +
				"somebody runs `systemctl start mariadb`",
			happens: "systemd refuses it at once; the snapshot is taken, MariaDB is back",
			why:     "the start would hang on the frozen filesystem, and spoil the snapshot",
		},
	}
}

// startWhileHeld stops the control plane under the hold, so that it lasts for a while.
func (l *lab) startWhileHeld() {
	l.stopWriter() // mode offline would refuse its writes
	l.Stop()
	l.start("UNDERSTUDY_FAILPOINT=stop@before_effect:snapshot")
	defer l.wake()
	job, _ := l.asks("snapshot", "create", primary, "--mode", "offline")
	l.eventually(3*time.Minute, job+" stands before snapshot", l.stopped)
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	out, err := l.Exec(ctx, primary, "systemctl", "start", mariadbUnit)
	if err == nil || ctx.Err() != nil || !strings.Contains(out+err.Error(), "ssertion failed") {
		l.t.Errorf("systemctl start was not refused: %s, %v", out, err)
	}
	l.wake()
	l.succeeds(job)
	if l.exec(primary, "find", "/run", "-maxdepth", "1", "-name", "understudy-mariadb-held") != "" {
		l.t.Error("the file that keeps MariaDB down is left")
	}
	l.startWriter()
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

func (l *lab) lostSettings() {
	name := l.stand()
	l.tearFiles(name, "rm master.info relay-log.info")
	l.seen(name, "DEGRADED", "job retry "+l.standJob()+" --step configure_replica")
	l.again("configure_replica")
	l.again("start_replica")
	l.whole(name)
}

func (l *lab) tornInJob(how string) {
	m := l.makeUntil("before_effect:catch_up")
	l.tearFiles(m.name, how)
	l.goesOn(m)
}
