//go:build lab

package faults

import (
	"strings"
	"time"
)

// strike waits for a random number of changes in the store, and breaks something.
func (s *sequence) strike(within int) {
	s.t.Helper()
	s.changes(1 + s.dice.IntN(within))
	strikes := []struct {
		weight int
		do     func()
	}{
		{3, s.killPlane}, {3, s.killPlaneAt}, {3, s.killAgent}, {2, s.cutAll}, {3, s.cutNetwork},
		{3, s.cancel}, {3, s.fellMariaDB}, {1, s.takeOver}, {1, s.retryNow},
	}
	sum := 0
	for _, c := range strikes {
		sum += c.weight
	}
	n := s.dice.IntN(sum)
	for _, c := range strikes {
		if n -= c.weight; n < 0 {
			c.do()
			return
		}
	}
}

// changes waits until the store has changed so often, the job is at rest, or the control plane has
// died.
func (s *sequence) changes(n int) {
	s.t.Helper()
	db := s.store()
	defer db.Close()
	conn, err := db.Conn(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	last := int64(-1)
	s.eventually(2*time.Minute, "the store changes", func() bool {
		var version int64
		if err := conn.QueryRowContext(s.t.Context(),
			"PRAGMA data_version").Scan(&version); err != nil {
			s.t.Fatal(err)
		}
		if version != last {
			last = version
			n--
		}
		return n < 0 || !s.Running() || s.atRest()
	})
	s.stand()
}

func (s *sequence) atRest() bool {
	db := s.store()
	defer db.Close()
	return len(s.query(db, "SELECT 1 FROM jobs WHERE id = ? AND active = 1",
		strings.TrimPrefix(s.m.job, "jobs/"))) == 0
}

// stand starts a control plane when its failpoint has ended it.
func (s *sequence) stand() {
	if !s.Running() {
		s.say("the control plane is dead, and is started")
		s.failpoint = false
		s.start()
	}
}

func (s *sequence) killPlane() {
	s.say("the control plane is killed and started")
	s.Kill()
	s.failpoint = false
	s.start()
}

// killPlaneAt makes the control plane kill itself somewhere ahead, if the job gets there.
func (s *sequence) killPlaneAt() {
	steps := s.steps(s.m.job)
	point := points[s.dice.IntN(len(points))] + ":" + steps[s.dice.IntN(len(steps))]
	s.say("the control plane is started anew, to die at %s", point)
	s.failpoint = true
	s.dieAt(point)
}

func (s *sequence) killAgent() {
	host := s.host()
	s.say("the agent of %s is killed", host)
	machine := s.machineOf(host).ID
	killed := s.processes(machine, "run")
	s.maybe(host, "systemctl", "kill", "--signal=KILL", "understudy-agent.service")
	s.gone(machine, "run", killed)
}

// host draws one of the hosts that there are.
func (s *sequence) host() string {
	if replica := s.dice.IntN(2) == 0; replica && s.replicaRuns() {
		return s.m.name
	}
	return primary
}

func (s *sequence) replicaRuns() bool {
	for _, m := range s.machines() {
		if m.Name == s.m.name && m.Phase == "running" {
			return true
		}
	}
	return false
}

func (s *sequence) cutAll() {
	s.say("all connections are cut")
	s.cutConnections("")
}

func (s *sequence) cutNetwork() {
	host, n := s.host(), 1+s.dice.IntN(4)
	s.say("the network of %s is cut for %d changes", host, n)
	device := s.networkDevice(host)
	s.onNetwork(host, "ip", "link", "set", device, "down")
	s.changes(n)
	s.onNetwork(host, "ip", "link", "set", device, "up")
}

func (s *sequence) cancel() {
	out, err := s.try("job", "cancel", s.m.job, "--detach")
	s.say("cancel: %v %s", err, out)
	s.cancelled = true // also when the answer was lost
}

// fellMariaDB kills or restarts the replica's MariaDB, when there is one that runs.
func (s *sequence) fellMariaDB() {
	if s.m.name == "" || !s.replicaRuns() || s.maybe(s.m.name, "systemctl", "is-active",
		mariadbUnit) != "active" {
		s.killAgent()
		return
	}
	s.felled, s.felledJobs = true, append(s.felledJobs, strings.TrimPrefix(s.m.job, "jobs/"))
	if s.dice.IntN(2) == 0 {
		s.say("MariaDB of %s is killed", s.m.name)
		process := func() string {
			return s.maybe(s.m.name, "systemctl", "show", "--property=MainPID", "--value",
				mariadbUnit)
		}
		killed := process()
		s.maybe(s.m.name, "systemctl", "kill", "--signal=KILL", mariadbUnit)
		s.eventually(2*time.Minute, "systemd has seen MariaDB's end",
			func() bool { return killed == "0" || process() != killed })
		return
	}
	s.say("MariaDB of %s is restarted", s.m.name)
	s.maybe(s.m.name, "systemctl", "restart", mariadbUnit)
}

// takeOver has a second control plane finish the job. A machine enrols with the control plane that
// made it, so its agent has to be there.
func (s *sequence) takeOver() {
	if s.m.name != "" && s.stepState(s.m.job, "await_agent") != "succeeded" {
		s.killPlane()
		return
	}
	s.failpoint = false
	s.say("a second control plane is started, the first is killed")
	second := s.second()
	defer second.Kill()
	s.Kill()
	s.eventually(3*time.Minute, "the second control plane brings the job to rest", s.atRest)
	s.say("the second is killed, the first started")
	second.Kill()
	s.stand()
}

// retryNow asks for a retry; while the job is under way that is refused.
func (s *sequence) retryNow() {
	steps := s.steps(s.m.job)
	out, err := s.try("job", "retry", s.m.job, "--step", steps[s.dice.IntN(len(steps))], "--detach")
	s.say("retry: %v %s", err, out)
	s.again = s.again || err == nil
}
