//go:build lab

package faults

import "time"

// slowWay is how long a frame takes each way over a slow link: an answer takes 2 s.
const slowWay = time.Second

func quiesceRows() []row {
	return []row{
		{
			id: "C3", variant: "silent both ways while frozen",
			run: func(l *lab) { l.silentFrozen(true, true) },
			planted: "all frames to and from the primary are swallowed while commits are blocked " +
				"and the filesystem is frozen; no side is told",
			happens: "MariaDB resumes at the limit; the job deletes its snapshot and quiesces " +
				"again once the host can be reached",
			why: "the limit is counted on the host; keepalive ends the calls of a connection " +
				"that is silent",
		},
		{
			id: "C3", variant: "silent towards the host while frozen",
			run:     func(l *lab) { l.silentFrozen(true, false) },
			planted: "the same, but only what goes to the primary: the release never arrives",
			happens: "the same",
			why:     "the limit does not depend on the control plane",
		},
		{
			id: "C3", variant: "silent from the host while frozen", run: (*lab).proofLost,
			planted: "what comes from the primary is swallowed at the same moment, the provider " +
				"answers, and the connection ends before the host is heard again",
			happens: "the primary is released at once; the proof of it is lost, so the cut is " +
				"deleted and the job quiesces again",
			why: "only a point that is proved unbroken afterwards makes a snapshot, and a " +
				"lost proof is none",
		},
		{
			id: "C3", variant: "connection reset while frozen", quick: true,
			run:     (*lab).resetFrozen,
			planted: "all connections to the primary's agent are reset at the same moment",
			happens: "MariaDB resumes at once; the job deletes its snapshot and quiesces again",
			why:     "MariaDB resumes when the stream ends",
		},
		{
			id: "C3", variant: "slow while a snapshot is taken", run: (*lab).slowSnapshot,
			planted: "each frame to and from the primary takes 1 s, so that an answer takes 2 s, " +
				"for the whole of the job",
			happens: "the snapshot is taken; a commit waits for the round trips of Quiesce and " +
				"no longer than its limit",
			why: "between the point and the release is one round trip",
		},
	}
}

func (l *lab) silentFrozen(toHost, fromHost bool) {
	cable := l.splice(primary)
	defer cable.remove()
	f := l.freeze()
	cable.silence(toHost, fromHost)
	f.answer()
	l.thaws(f)
	cable.swallowed()
	l.eventually(2*time.Minute, "the job has noticed",
		func() bool { return l.stepState(f.job, "resume") != "running" })
	cable.silence(false, false)
	l.oneCut(f.job, 2)
}

func (l *lab) proofLost() {
	cable := l.splice(primary)
	defer cable.remove()
	f := l.freeze()
	cable.silence(false, true)
	f.answer()
	l.thaws(f)
	cable.swallowed()
	l.reset(primary)
	cable.silence(false, false)
	l.oneCut(f.job, 2)
}

func (l *lab) resetFrozen() {
	f := l.freeze()
	l.reset(primary)
	l.thaws(f)
	f.answer()
	l.oneCut(f.job, 2)
}

func (l *lab) slowSnapshot() {
	cable := l.splice(primary)
	defer cable.remove()
	cable.slow(slowWay)
	job := l.detach("snapshot", "create", primary, "--quiesce-limit", quiesceLimit.String())
	l.oneCut(job, 1)
	longest := l.writer.Longest()
	if longest < 2*slowWay {
		l.t.Errorf("the longest commit took %s: the release did not cross a slow link", longest)
	}
	if longest > longestCommit {
		l.t.Errorf("a commit took %s, more than the limit %s and 1 s", longest, quiesceLimit)
	}
	l.t.Logf("the longest commit: %s", longest.Round(time.Millisecond))
}
