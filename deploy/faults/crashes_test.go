//go:build lab

package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// TestLongCrashes runs jobs on real hosts while things die at random. CRASHES is how many,
// CRASH_SEED repeats a run, CRASH_ONLY one of its sequences. A sequence depends on its own dice
// alone, but for the moments at which things happen on the hosts.
func TestLongCrashes(t *testing.T) {
	seed, count, only := number(t, "CRASH_SEED", time.Now().UnixNano()%1_000_000),
		number(t, "CRASHES", 4), number(t, "CRASH_ONLY", -1)
	t.Logf("seed %d: CRASH_SEED=%d CRASHES=%d runs these sequences again", seed, seed, count)
	queue := make(chan int64, count+1)
	for i := range count {
		if only < 0 || only == i {
			queue <- i
		}
	}
	close(queue)
	var labs sync.WaitGroup
	for i := range labCount() {
		labs.Go(func() { runSequences(t, fmt.Sprint(labName(), "x", i+1), seed, queue) })
	}
	labs.Wait()
}

func number(t *testing.T, variable string, otherwise int64) int64 {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// runSequences runs sequences on one lab; one that fails takes its lab with it.
func runSequences(t *testing.T, name string, seed int64, queue <-chan int64) {
	var l *lab
	down := func() {
		if l != nil {
			l.in(t).end()
			l = nil
		}
	}
	defer down()
	for i := range queue {
		good := t.Run(fmt.Sprint("seed=", seed, "/", i), func(t *testing.T) {
			if l == nil {
				l = newLab(t, name, "nspawn")
			}
			s := &sequence{lab: l.in(t),
				dice: rand.New(rand.NewPCG(uint64(seed), uint64(i)*0x9e3779b97f4a7c15))}
			s.do()
		})
		if !good && l == nil {
			t.Errorf("no lab %s, no more sequences on it", name)
			return
		}
		if !good {
			down()
		}
	}
}

// sequence is one job and what strikes it.
type sequence struct {
	*lab
	dice *rand.Rand
	m    making
	// What was drawn decides what may become of the job.
	cancelled, felled, again bool
	failpoint                bool
}

func (s *sequence) do() {
	s.writer.Reset()
	begin := time.Now()
	defer func() {
		if s.t.Failed() {
			s.t.Logf("the control plane's log:\n%s", lastLines(s.LogPath(), 60))
		}
	}()
	s.ask()
	// The first strike may come anywhere in the job, those after it soon.
	s.strike(len(s.steps(s.m.job)) + 6)
	for range s.dice.IntN(4) {
		s.strike(12)
	}
	s.comeToRest()
	if s.dice.IntN(3) == 0 {
		s.askAgain()
	}
	s.judge()
	s.check()
	s.tidy()
	s.t.Logf("%s in %s, the longest commit %s", s.m.job,
		time.Since(begin).Round(100*time.Millisecond), s.writer.Longest().Round(time.Millisecond))
}

func (s *sequence) say(format string, args ...any) {
	s.t.Logf("%s: "+format, append([]any{time.Now().UTC().Format("15:04:05.000")}, args...)...)
}

// ask draws the job, and, half of the time, where the control plane kills itself in it.
func (s *sequence) ask() {
	kind, args := "take_snapshot", []string{"snapshot", "create", primary, "--quiesce-limit",
		quiesceLimit.String()}
	switch n := s.dice.IntN(100); {
	case n < 45:
	case n < 67:
		kind, args = "create_replica", []string{"replica", "create", s.named(), "--from", s.snap(),
			"--image", "trixie-masked"}
	case n < 82:
		kind, args = "create_replica", []string{"replica", "create", s.named(), "--of", primary,
			"--image", "trixie-masked"}
	case n < 92:
		s.dropSnap()
		kind, args = "delete_snapshot", []string{"snapshot", "delete", s.snap(), "--yes"}
		s.shared.snapshot = ""
	default:
		s.run("replica", "create", s.named(), "--from", s.snap(), "--image", "trixie-masked")
		kind, args = "delete_server", []string{"server", "delete", s.m.name, "--yes"}
		s.m.name = ""
	}
	if point := s.point(kind); s.dice.IntN(2) == 0 {
		s.say("the control plane will die at %s", point)
		s.dieAt(point)
		s.failpoint = true
	}
	s.say("%s", strings.Join(args, " "))
	s.m.job, _ = s.asks(args...)
}

func (s *sequence) named() string {
	s.m.name = s.name()
	return s.m.name
}

// point draws a place in a job of a kind, among the steps that an earlier one has in the store.
func (s *sequence) point(kind string) string {
	point, at := points[s.dice.IntN(len(points))], s.dice.IntN(1000)
	db := s.store()
	defer db.Close()
	steps := s.query(db, "SELECT kind FROM job_steps WHERE job_id = (SELECT MAX(id) FROM jobs "+
		"WHERE kind = ?) ORDER BY seq", kind)
	if len(steps) == 0 {
		return point + ":settle"
	}
	return point + ":" + steps[at%len(steps)][0]
}

// comeToRest waits until everything is back and the job has ended.
func (s *sequence) comeToRest() {
	s.t.Helper()
	s.settled()
	s.agentsBack()
	s.await(s.m.job, 5*time.Minute, ended)
	if s.felled && s.replicaRuns() {
		s.eventually(2*time.Minute, "MariaDB of "+s.m.name+" is up or down", func() bool {
			return !strings.HasSuffix(s.maybe(s.m.name, "systemctl", "show",
				"--property=ActiveState", "--value", mariadbUnit), "ating")
		})
	}
}

// settled has a control plane serve that will not kill itself.
func (s *sequence) settled() {
	if s.failpoint {
		s.Stop()
		s.failpoint = false
	}
	if !s.Running() {
		s.start()
	}
}

// askAgain asks for a step of the job again, now that it is at rest.
func (s *sequence) askAgain() {
	steps := s.steps(s.m.job)
	step := steps[s.dice.IntN(len(steps))]
	args := []string{"job", "retry", s.m.job, "--step", step}
	if s.dice.IntN(4) == 0 {
		args = []string{"job", "redo", s.m.job, step, "--reason", "the dice say so"}
	}
	out, err := s.try(append(args, "--detach")...)
	s.say("%s: %v %s", strings.Join(args[1:], " "), err, out)
	if err != nil {
		return
	}
	s.again = true
	if s.dice.IntN(2) == 0 {
		s.strike(12)
	}
	s.comeToRest()
}

// judge holds the job to what was drawn: it has succeeded, or was cancelled, or has refused, and
// then a retry goes on to the good end.
func (s *sequence) judge() {
	s.t.Helper()
	j := s.await(s.m.job, 4*time.Minute, ended)
	s.say("%s: %s", j.GetState(), j.GetError().GetMessage())
	switch j.GetState() {
	case cpv1.Job_STATE_SUCCEEDED:
	case cpv1.Job_STATE_CANCELLED:
		if !s.cancelled {
			s.t.Errorf("%s is cancelled, and nobody asked for it", s.m.job)
		}
		if s.dice.IntN(2) == 0 {
			return // to be cleaned up
		}
		s.retries()
	default:
		if e := j.GetError(); e.GetReason() == "" || e.GetHint() == nil {
			s.t.Errorf("%s is %s without a reason or a hint: %v", s.m.job, j.GetState(), e)
		}
		s.retries()
	}
	s.once()
}

func (s *sequence) retries() {
	s.t.Helper()
	s.again = true
	s.run("job", "retry", s.m.job, "--detach")
	s.succeeds(s.m.job)
}

// once expects that what a job makes is there, and once.
func (s *sequence) once() {
	s.t.Helper()
	s.effectsOnce(s.m)
	if s.m.name == "" {
		return
	}
	s.whole(s.m.name)
	s.hostOnce(s.m.name)
	if n := s.starts(s.m.name); n != 1 && !s.felled && !s.again {
		s.t.Errorf("MariaDB was started %d times, not once", n)
	}
}
