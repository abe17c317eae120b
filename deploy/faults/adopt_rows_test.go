//go:build lab

package faults

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// adoptRows are about an offline quiesce, which outlives who asked for it.
func adoptRows() []row {
	return []row{
		{
			id: "S1", variant: "control plane killed, offline", run: (*lab).planeKilledOffline,
			planted: "`kill -9` of the control plane while MariaDB is stopped and its " +
				"filesystem frozen for an offline snapshot, before and after the snapshot is begun",
			happens: "the host goes on; the next control plane adopts the quiesce at the same " +
				"point; one snapshot, never a second quiesce",
			why: "the record has the point and its nonce, the host waits 2 minutes for its job",
		},
		{
			id: "S2", variant: "agent killed, offline", quick: true, run: (*lab).agentKilledOffline,
			planted: "`kill -9` of the primary's agent at the same two moments",
			happens: "the process goes on without an agent; the next agent offers it, the job " +
				"adopts it at the same point and says so; one snapshot, never a second quiesce",
			why: "what is on the volume does not change with the agent, and the proof is the " +
				"process's own",
		},
		{
			id: "S2", variant: "no agent, offline", run: (*lab).agentGoneOffline,
			planted: "the agent is killed at the same moment and systemd does not start it again",
			happens: "MariaDB serves at the limit; once an agent is there the job says that the " +
				"limit was over, and quiesces again",
			why: "the limit is the process's own, and the record of the host has how it ended",
		},
		{
			id: "S2", variant: "process killed, offline",
			run:     (*lab).processKilledOffline,
			planted: "`kill -9` of the process that quiesces, at the same moment",
			happens: "systemd thaws the filesystem and starts MariaDB; the job says that the " +
				"process was killed, and quiesces again",
			why: "systemd leaves how the process ended for the agent",
		},
	}
}

// offlineUntil begins an offline snapshot under a control plane that stops at these steps, and
// waits for the first.
func (l *lab) offlineUntil(limit time.Duration, failpoints string) (job string) {
	l.t.Helper()
	l.stopWriter() // mode offline would refuse its writes
	l.Stop()
	l.start("UNDERSTUDY_FAILPOINT=" + failpoints)
	job, _ = l.asks("snapshot", "create", primary, "--mode", "offline", "--quiesce-limit",
		limit.String())
	l.stopsAt(job, "snapshot")
	return job
}

func (l *lab) stopsAt(job, step string) {
	l.t.Helper()
	l.eventually(3*time.Minute, job+" stands before "+step, func() bool {
		return l.stopped() && l.stoppedAt() == step
	})
	if got := l.exec(primary, "systemctl", "show", "--property=ActiveState", "--value",
		mariadbUnit); got != "inactive" {
		l.t.Errorf("MariaDB is %s before %s", got, step)
	}
}

// quiescedOnce expects that the job took one snapshot, and that of its first point it says what
// became of the connection. It answers the generation of the quiesce.
func (l *lab) quiescedOnce(job string) int32 {
	l.t.Helper()
	defer l.startWriter()
	defer l.letGo()
	l.oneCut(job, 1)
	j := l.succeeds(job)
	generation := stepOf(j, "quiesce").GetGeneration()
	said := strings.Join(append(stepOf(j, "snapshot").GetFound(),
		stepOf(j, "resume").GetFound()...), "\n")
	if generation == 1 && !strings.Contains(said, "it goes on at the same point") {
		l.t.Errorf("the steps do not say that they went on with the quiesce:\n%s", said)
	}
	return generation
}

// inOneQuiesce expects that a story needs no second quiesce. The faults that the EC2 endpoint makes
// at random may be of the snapshot itself: the job then lets go at once, rightly, and the story is
// told again.
func (l *lab) inOneQuiesce(story func() (generation int32)) {
	l.t.Helper()
	for range 5 {
		before := l.snapshotFaults()
		generation := story()
		if generation == 1 {
			return
		}
		if l.snapshotFaults() == before {
			l.t.Errorf("quiesce is of generation %d", generation)
			return
		}
		l.t.Log("again: the EC2 endpoint did not let the snapshot begin")
	}
	l.t.Error("the EC2 endpoint let no snapshot begin")
}

// snapshotFaults is how many snapshots the EC2 endpoint has refused, or did not answer.
func (l *lab) snapshotFaults() int {
	l.t.Helper()
	if !l.overEC2() {
		return 0
	}
	log, err := os.ReadFile(filepath.Join(l.Config().Dir, "ec2.log"))
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.Count(string(log), "action=CreateSnapshot")
}

// lostOffline expects that the job says why its quiesce was lost, and quiesced again.
func (l *lab) lostOffline(job, why string) {
	l.t.Helper()
	defer l.letGo()
	l.oneCut(job, 2)
	said := strings.Join(stepOf(l.succeeds(job), "quiesce").GetFound(), "\n")
	if !strings.Contains(said, why) || strings.Contains(said, "same point") {
		l.t.Errorf("it does not say why the quiesce was lost (%s):\n%s", why, said)
	}
	l.startWriter()
}

const bothSteps = "stop@before_effect:snapshot,stop@before_effect:resume"

func (l *lab) agentKilledOffline() {
	l.inOneQuiesce(l.agentKilledTwice)
}

func (l *lab) agentKilledTwice() int32 {
	job := l.offlineUntil(5*time.Minute, bothSteps)
	defer l.wake()
	for _, next := range []string{"resume", ""} {
		killed := []int{l.process(primary, "run")}
		l.signal(killed[0], unix.SIGKILL)
		l.gone(l.machineOf(primary).ID, "run", killed)
		l.wake()
		if next != "" {
			l.stopsAt(job, next)
		}
	}
	return l.quiescedOnce(job)
}

func (l *lab) planeKilledOffline() {
	l.inOneQuiesce(l.planeKilledTwice)
}

func (l *lab) planeKilledTwice() int32 {
	job := l.offlineUntil(5*time.Minute, bothSteps)
	l.Kill()
	l.start("UNDERSTUDY_FAILPOINT=stop@before_effect:resume")
	l.stopsAt(job, "resume")
	l.Kill()
	l.start()
	return l.quiescedOnce(job)
}

func (l *lab) agentGoneOffline() {
	const limit = 20 * time.Second
	job := l.offlineUntil(limit, "stop@before_effect:snapshot")
	defer l.wake()
	again := l.noRestart(primary, agentDropIn)
	l.signal(l.process(primary, "run"), unix.SIGKILL)
	l.serves(limit + time.Minute)
	again()
	l.exec(primary, "systemctl", "start", agentUnit)
	l.wake()
	l.lostOffline(job, "its limit was over")
}

func (l *lab) processKilledOffline() {
	job := l.offlineUntil(5*time.Minute, "stop@before_effect:snapshot")
	defer l.wake()
	l.signal(l.process(primary, "quiesce"), unix.SIGKILL)
	l.serves(time.Minute)
	l.wake()
	l.lostOffline(job, "signal KILL")
}

// letGo waits until systemd has ended the unit of a quiesce: MariaDB serves before that.
func (l *lab) letGo() {
	l.t.Helper()
	l.eventually(2*time.Minute, "the quiesce is over", func() bool {
		state, err := l.Exec(l.t.Context(), primary, "systemctl", "show", "--property=ActiveState",
			"--value", "understudy-quiesce.service")
		return err == nil && !strings.Contains(state, "activating")
	})
}

// serves waits until MariaDB answers on the primary.
func (l *lab) serves(within time.Duration) {
	l.t.Helper()
	l.eventually(within, "MariaDB serves", func() bool {
		_, err := l.Exec(l.t.Context(), primary, "mariadb", "-e", "SELECT 1")
		return err == nil
	})
}
