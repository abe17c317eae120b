//go:build lab

package faults

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// crash is one way in which something dies while the control plane stands still at a point of a
// step.
type crash struct {
	id, what, why string
	strike        func(l *lab, env string)
}

func crashes() []crash {
	return []crash{
		{id: "C1", what: "control plane killed", strike: (*lab).killAndStart,
			why: "the step is run again, and finds its effect by the key that it carries"},
		{id: "C2", what: "agents killed", strike: (*lab).killAgents,
			why: "an agent that is away is waited for; its calls can be made twice"},
		{id: "C3", what: "connections cut", strike: (*lab).cutConnections,
			why: "a call whose answer is lost is made again, and changes nothing twice"},
	}
}

// points are where a step can be struck.
var points = []string{"before_effect", "after_effect", "after_commit"}

// crashRows are made, not written: each way to die at each point of each step that the store has of
// each job.
func crashRows() []row {
	rows := []row{{
		id: "C1", variant: "control plane killed by its failpoint", quick: true,
		run:     func(l *lab) { l.diesOnce("after_effect:mount_data") },
		planted: "the control plane kills itself between the effect of mount_data and its commit",
		happens: "the job goes on by itself; the volume is found mounted; MariaDB is started once",
		why:     "the step is run again and looks before it acts",
	}}
	for _, c := range crashes() {
		for _, point := range points {
			rows = append(rows,
				c.row(point, "the replica's job", []string{"replica", "create", "--of", primary,
					"--image", "trixie-masked"}),
				c.row(point, "the snapshot's job",
					[]string{"snapshot", "create", primary, "--quiesce-limit",
						quiesceLimit.String()}),
				c.growth(point), c.restart(point), c.stop(point))
		}
	}
	return append(rows, crashes()[0].row("after_effect", "the primary's job",
		[]string{"server", "create", "--image", "trixie-masked"}))
}

func (c crash) growth(point string) row {
	at := where(point)
	return row{
		id: c.id, variant: fmt.Sprintf("%s %s of each step of a growth", c.what, at),
		run:     func(l *lab) { l.strikeGrowth(c, point) },
		planted: fmt.Sprintf("%s, %s of each step in turn, in one job", c.what, at),
		happens: "the job goes on after each; the volume, its filesystem and its record have the " +
			"size; MariaDB was not restarted",
		why: c.why,
	}
}

func (c crash) restart(point string) row {
	at := where(point)
	return row{
		id: c.id, variant: fmt.Sprintf("%s %s of each step of a restart", c.what, at),
		run:     func(l *lab) { l.strikeReboot(c, point) },
		planted: fmt.Sprintf("%s, %s of each step in turn, in one job", c.what, at),
		happens: "the job goes on after each; the machine has restarted once; READY and equal",
		why:     c.why,
	}
}

// where is a point in words.
func where(point string) string {
	return strings.NewReplacer("_", " ", "effect", "the effect", "commit", "the commit").
		Replace(point)
}

func (c crash) row(point, story string, args []string) row {
	at := where(point)
	return row{
		id: c.id, variant: fmt.Sprintf("%s %s of each step of %s", c.what, at, story),
		quick:   point == "after_effect" && args[0] == "snapshot",
		run:     func(l *lab) { l.strikeEach(c, point, args...) },
		planted: fmt.Sprintf("%s, %s of each step in turn, in one job", c.what, at),
		happens: "the job goes on after each; one machine, volume, account, mount and start, one " +
			"snapshot; a point that was lost is reached again, its snapshot deleted",
		why: c.why,
	}
}

func (l *lab) diesOnce(failpoint string) {
	m := l.makeUntil(failpoint)
	l.goesOn(m)
	l.madeOnce(m)
}

// strikeEach asks for a job, and strikes while the control plane stands at the point of each of its
// steps.
func (l *lab) strikeEach(c crash, point string, args ...string) {
	m := making{}
	if args[0] != "snapshot" {
		m.name = l.name()
		args = slices.Insert(slices.Clone(args), 2, m.name)
	}
	m.job = l.strikeJob(c, point, args...)
	l.agentsBack()
	if m.name != "" && l.primaryOf(m.name) != "" {
		l.same(m.name)
	}
	l.madeOnce(m)
}

// strikeGrowth does it while the volume of a primary grows, which is written to.
func (l *lab) strikeGrowth(c crash, point string) {
	name := l.growable()
	starts := l.starts(name)
	l.strikeJob(c, point, "server", "grow", name, "--size", "3GiB")
	l.agentsBack()
	l.hasGrown(name)
	if n := l.starts(name); n != starts {
		l.t.Errorf("MariaDB on %s was started %d times, not %d", name, n, starts)
	}
}

// strikeJob strikes in each step of one job, which succeeds.
func (l *lab) strikeJob(c crash, point string, args ...string) string {
	env := "UNDERSTUDY_FAILPOINT=stop@" + point + ":*"
	l.Stop()
	l.start(env)
	defer l.wake()
	m := making{}
	var again func() string
	m.job, again = l.asks(args...)
	struck, cuts := map[string]bool{}, l.cuts
	for l.awaitStop(m, struck) {
		step := l.stoppedAt()
		if !struck[step] {
			struck[step] = true
			c.strike(l, env)
		}
		l.wake()
	}
	if n := l.cuts - cuts; c.id == "C3" && n < len(struck)/2 {
		l.t.Errorf("only %d connections were cut in %d steps", n, len(struck))
	}
	l.Stop()
	l.start()
	if job := again(); job != m.job {
		l.t.Errorf("asked again, there is another job: %s, not %s", job, m.job)
	}
	l.succeeds(m.job)
	return m.job
}

// asks asks for a job by the command line, whose answer may be a while in coming or be lost, and
// returns once the store has it. Asking again, with the same request id, is for when the control
// plane serves.
func (l *lab) asks(args ...string) (job string, again func() string) {
	l.t.Helper()
	id, answered := uuid.NewString(), make(chan struct{})
	args = append(slices.Clone(args), "--request-id", id)
	go func() {
		defer close(answered)
		_, _ = l.try(append(slices.Clone(args), "--detach")...)
	}()
	db := l.store()
	defer db.Close()
	l.eventually(2*time.Minute, "the store has the job", func() bool {
		for _, found := range l.query(db, "SELECT id FROM jobs WHERE request_id = ?", id) {
			job = "jobs/" + found[0]
		}
		return job != ""
	})
	return job, func() string {
		<-answered
		return l.detach(args...)
	}
}

// agentsBack waits until the agent of each host serves.
func (l *lab) agentsBack() {
	l.t.Helper()
	for _, m := range l.machines() {
		l.eventually(2*time.Minute, "the agent of "+m.Name+" serves", func() bool {
			conn, err := net.DialTimeout("tcp", net.JoinHostPort(m.Address, "7443"), time.Second)
			if err != nil {
				return false
			}
			defer conn.Close()
			// One that is just dying still accepts; a server waits for what it is told.
			_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			_, err = conn.Read(make([]byte, 1))
			return errors.Is(err, os.ErrDeadlineExceeded)
		})
	}
}

// awaitStop waits until the control plane has stopped itself; false when the job is done, all its
// steps having been struck.
func (l *lab) awaitStop(m making, struck map[string]bool) (stopped bool) {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	left := slices.DeleteFunc(l.steps(m.job), func(step string) bool { return struck[step] })
	l.eventually(3*time.Minute, fmt.Sprintf("%s stops at its next step or ends; not struck yet: %v",
		m.job, left), func() bool {
		if stopped = l.stopped(); stopped {
			return true
		}
		switch at := l.query(db, "SELECT state, reason FROM jobs WHERE id = ?",
			strings.TrimPrefix(m.job, "jobs/"))[0]; at[0] {
		case "succeeded":
			return len(left) == 0
		case "failed", "cancelled", "action_required":
			l.t.Fatalf("%s is %s: %s", m.job, at[0], at[1])
		}
		return false
	})
	return stopped
}

// stopped says whether the control plane's process is stopped.
func (l *lab) stopped() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", l.PID()))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err == nil && strings.HasPrefix(rest, "T")
}

// wake lets a stopped control plane go on.
func (l *lab) wake() {
	if l.stopped() {
		l.signal(l.PID(), unix.SIGCONT)
	}
}

// stoppedAt is the step at which the control plane stopped itself, by its own log.
func (l *lab) stoppedAt() (step string) {
	l.t.Helper()
	log, err := os.ReadFile(l.LogPath())
	if err != nil {
		l.t.Fatal(err)
	}
	_, rest, found := cutLast(string(log), `msg="stopped at a failpoint"`)
	if !found {
		l.t.Fatal("the control plane stopped without saying where")
	}
	line, _, _ := strings.Cut(rest, "\n")
	for _, word := range strings.Fields(line) {
		if value, ok := strings.CutPrefix(word, "step="); ok {
			step = value
		}
	}
	return step
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (l *lab) killAndStart(env string) {
	l.Kill()
	l.start(env)
}

// killAgents kills the agent of each host.
func (l *lab) killAgents(string) {
	for _, m := range l.machines() {
		agents := l.processes(m.ID, "run")
		for _, pid := range agents {
			l.signal(pid, unix.SIGKILL)
		}
		l.gone(m.ID, "run", agents)
	}
}

// cutConnections resets all connections between the control plane and the hosts. New ones may be
// there at once.
func (l *lab) cutConnections(string) {
	l.t.Helper()
	for _, m := range l.machines() {
		before := l.connections(m.Address)
		if out, err := boxCommand(l.bg(), "ss", "--kill", "--tcp", "--numeric", "dst",
			m.Address); err != nil || strings.Contains(out, "answers") {
			l.t.Fatalf("cannot cut connections to %s: %v: %s", m.Address, err, out)
		}
		after := l.connections(m.Address)
		for _, c := range before {
			if slices.Contains(after, c) {
				l.t.Fatalf("the connection %s is still there", c)
			}
		}
		l.cuts += len(before)
	}
}

// connections are those of this box to an address, as their local and remote ends.
func (l *lab) connections(address string) (all []string) {
	l.t.Helper()
	out, err := boxCommand(l.bg(), "ss", "--no-header", "--tcp", "--numeric", "state",
		"established", "dst", address)
	if err != nil {
		l.t.Fatalf("cannot list connections to %s: %v: %s", address, err, out)
	}
	for line := range strings.Lines(out) {
		if ends := strings.Fields(line); len(ends) >= 4 {
			all = append(all, ends[2]+" "+ends[3])
		}
	}
	return all
}

// steps are the names of a job's steps, as the store has them: a new step is covered when it is
// written.
func (l *lab) steps(job string) []string {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	var names []string
	for _, row := range l.query(db, "SELECT kind FROM job_steps WHERE job_id = ? ORDER BY seq",
		strings.TrimPrefix(job, "jobs/")) {
		names = append(names, row[0])
	}
	return names
}
