//go:build lab

package faults

import "slices"

// purgeRows are about the deletion of binary logs on request.
func purgeRows() []row {
	return []row{
		{
			id: "R12", variant: "a replica that stopped", run: (*lab).purgedWhileStopped,
			planted: "the IO thread of a replica is stopped, its primary begins new binary logs, " +
				"and an operator purges",
			happens: "the binary log that the replica goes on from stays; it catches up once it " +
				"is started",
			why: "no connection of the replica keeps a binary log then: what it has applied does",
		},
	}
}

func (l *lab) purgedWhileStopped() {
	replica := l.stand()
	l.dropSnap() // its reservation would do
	l.sql(replica, "STOP REPLICA IO_THREAD")
	before := l.logs()
	l.newLogs()
	l.run("server", "purge-binlogs", primary)
	if needed := before[len(before)-1]; !slices.Contains(l.logs(), needed) {
		l.t.Errorf("%s was deleted, which %s goes on from", needed, replica)
	}
	l.sql(replica, "START REPLICA IO_THREAD")
	l.same(replica)
}
