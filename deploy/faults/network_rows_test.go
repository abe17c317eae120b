//go:build lab

package faults

import (
	"slices"
	"strings"
	"time"
)

func networkRows() []row {
	return []row{
		{
			id: "C3", variant: "connections reset in every step",
			run: func(l *lab) { l.duringEach((*lab).resetHosts) },
			planted: "all connections to the primary's and the replica's agent are reset as each " +
				"step begins",
			happens: "the job goes on by itself; everything was made once",
			why:     "an agent that is away is waited for; its calls can be made twice",
		},
		{
			id: "C3", variant: "answers lost in every step", run: (*lab).answersLostInEach,
			planted: "as each step begins, the agents' calls arrive and their answers are " +
				"swallowed, until the connection is reset",
			happens: "the same",
			why: "each changing call looks first, so that one whose answer was lost changes " +
				"nothing the second time",
		},
		{
			id: "C3", variant: "half-open in a long call", run: (*lab).halfOpenCall,
			planted: "the replica falls silent in the middle of a call, without a word to the " +
				"control plane, and stays so",
			happens: "the call ends by keepalive within 45 s; once the host is heard again the " +
				"job goes on",
			why: "no call waits for ever on a connection that nobody answers on",
		},
		{
			id: "C3", variant: "slow all along", long: true, run: (*lab).slowReplica,
			planted: "each frame to and from the primary and the replica takes 1 s, so that an " +
				"answer takes 2 s, for the whole of a replica's job",
			happens: "converges, slowly; everything was made once",
			why:     "a connection may take as long as a slow network needs",
		},
	}
}

// hasHost says whether the provider runs a machine of that name.
func (l *lab) hasHost(name string) bool {
	for _, m := range l.machines() {
		if m.Name == name && m.Phase == "running" {
			return true
		}
	}
	return false
}

// resetHosts resets the connections to both hosts' agents, as far as there are hosts.
func (l *lab) resetHosts(replica string) {
	for _, host := range []string{primary, replica} {
		if l.hasHost(host) {
			l.reset(host)
		}
	}
}

// duringEach makes a replica and strikes as each of its steps begins.
func (l *lab) duringEach(strike func(l *lab, replica string)) {
	l.t.Helper()
	m := making{name: l.name()}
	m.job = l.detach("replica", "create", m.name, "--of", primary, "--image", "trixie-masked")
	var struck []string
	l.await(m.job, 5*time.Minute, func(j *job) bool {
		for _, s := range j.GetSteps() {
			if s.GetState() == stepRunning && !slices.Contains(struck, s.GetName()) {
				struck = append(struck, s.GetName())
				strike(l, m.name)
			}
		}
		return ended(j)
	})
	l.succeeds(m.job)
	l.madeOnce(m)
	l.same(m.name)
	if len(struck) < 10 {
		l.t.Errorf("only the steps %v were struck", struck)
	}
	l.t.Logf("struck: %s", strings.Join(struck, " "))
}

// answersLostInEach lets calls in and swallows what the hosts say to them.
func (l *lab) answersLostInEach() {
	cables := map[string]*link{primary: l.splice(primary)}
	defer func() {
		for _, cable := range cables {
			cable.remove()
		}
	}()
	lost := int64(0)
	l.duringEach(func(l *lab, replica string) {
		if cables[replica] == nil && l.hasHost(replica) {
			cables[replica] = l.splice(replica)
		}
		for _, cable := range cables {
			cable.silence(false, true)
		}
		before := swallowed(cables)
		l.within(2*time.Second, func() bool { return swallowed(cables) > before+3 })
		lost += swallowed(cables) - before
		l.resetHosts(replica)
		for _, cable := range cables {
			cable.silence(false, false)
		}
	})
	if lost == 0 {
		l.t.Error("no answer was lost")
	}
}

func swallowed(cables map[string]*link) (all int64) {
	for _, cable := range cables {
		all += cable.swallows.Load()
	}
	return all
}

// within polls a condition and says whether it came true.
func (l *lab) within(limit time.Duration, condition func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(limit)
	for !condition() {
		select {
		case <-end:
			return false
		case <-tick.C:
		}
	}
	return true
}

// halfOpenCall lets a replica wait for its primary in catch_up, a call that takes as long as the
// primary's lock on a table is held.
func (l *lab) halfOpenCall() {
	table := l.table("halfopen")
	m := l.makeUntil("before_effect:catch_up")
	root := l.root(m.name)
	replica, err := root.Conn(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer replica.Close()
	l.must(replica, "LOCK TABLES "+table+" WRITE")
	l.sql(primary, "UPDATE "+table+" SET n = n + 1")
	l.start()
	l.eventually(2*time.Minute, "the control plane waits for the replica", func() bool {
		return len(l.query(root, "SELECT 1 FROM information_schema.processlist WHERE info LIKE "+
			"'%MASTER_GTID_WAIT%' AND info NOT LIKE '%processlist%'")) > 0
	})
	cable := l.splice(m.name)
	defer cable.remove()
	cable.silence(true, true)
	began := time.Now()
	l.await(m.job, 4*time.Minute, func(j *job) bool { // or the call goes on
		step := stepOf(j, "catch_up")
		return strings.Contains(step.GetProgress().GetText()+step.GetWaitReason(), "cannot reach")
	})
	l.t.Logf("the call ended after %s", time.Since(began).Round(time.Second))
	cable.swallowed()
	l.must(replica, "UNLOCK TABLES")
	cable.silence(false, false)
	l.succeeds(m.job)
	l.same(m.name)
	l.madeOnce(m)
}

func (l *lab) slowReplica() {
	cable := l.splice(primary)
	defer cable.remove()
	cable.slow(slowWay)
	m := making{name: l.name()}
	m.job = l.detach("replica", "create", m.name, "--of", primary, "--image", "trixie-masked")
	var other *link
	begin := time.Now()
	l.await(m.job, 20*time.Minute, func(j *job) bool {
		if other == nil && l.hasHost(m.name) {
			other = l.splice(m.name)
			other.slow(slowWay)
		}
		return ended(j)
	})
	if other == nil {
		l.t.Fatal("the replica's link was never slow")
	}
	defer other.remove()
	l.t.Logf("it took %s", time.Since(begin).Round(time.Second))
	l.succeeds(m.job)
	l.madeOnce(m)
	l.same(m.name)
}
