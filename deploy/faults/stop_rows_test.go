//go:build lab

package faults

import "fmt"

// stopRows are about servers that are stopped on purpose, and started again.
func stopRows() []row {
	return []row{
		{
			id: "W2", variant: "a READY replica", quick: true, run: (*lab).stopsReplica,
			planted: "a replica is stopped while its primary is written to, and started again",
			happens: "STOPPED while the machine is off, never READY nor UNREACHABLE; READY and " +
				"equal once it is started",
			why: "the monitor knows that its silence was asked for",
		},
		{
			id: "W2", variant: "switched on by somebody else", run: (*lab).startedElsewhere,
			planted: "a replica is stopped, and its machine switched on at the provider",
			happens: "READY and equal, by what is observed",
			why:     "STOPPED is what the host shows, not what was asked for",
		},
	}
}

// off expects a server that is stopped, on record and at the provider.
func (l *lab) off(name string) {
	l.t.Helper()
	l.seen(name, "STOPPED", "server start "+name)
	if m := l.machineOf(name); m.Phase != "stopped" {
		l.t.Errorf("the machine of %s is %s", name, m.Phase)
	}
}

func (l *lab) stopsReplica() {
	name := l.stand()
	l.refuse([]string{"is a primary", "--primary"}, "server", "stop", primary)
	l.run("server", "stop", name)
	l.off(name)
	l.run("server", "start", name)
	l.whole(name)
}

func (l *lab) startedElsewhere() {
	name := l.stand()
	l.run("server", "stop", name)
	l.off(name)
	if err := l.Lab(l.t.Context(), "start", name).Run(); err != nil {
		l.t.Fatalf("cannot switch %s on: %v", name, err)
	}
	l.whole(name)
}

// strikeStop strikes in each step of a replica's stop, and in each of its start.
func (l *lab) strikeStop(c crash, point string) {
	name := l.stand()
	l.strikeJob(c, point, "server", "stop", name)
	l.off(name)
	l.strikeJob(c, point, "server", "start", name)
	l.agentsBack()
	l.whole(name)
}

func (c crash) stop(point string) row {
	at := where(point)
	return row{
		id: c.id, variant: fmt.Sprintf("%s %s of each step of a stop and a start", c.what, at),
		run:     func(l *lab) { l.strikeStop(c, point) },
		planted: fmt.Sprintf("%s, %s of each step in turn, in one job each", c.what, at),
		happens: "the jobs go on after each; STOPPED, then READY and equal",
		why:     c.why,
	}
}
