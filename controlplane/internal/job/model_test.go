package job

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model drives a job's rows through random requests, outcomes, crashes and takeovers, and keeps its
// own book of what is true outside: which effects were made, and which sections are held. After
// every action the rules that hold in every reachable state are checked.
type model struct {
	job      Job
	clock    time.Time
	step     *Step           // at hand in the living process; nil when there is none
	held     map[string]int  // section -> steps begun since it was last released
	open     map[string]bool // attempts that are open, by step and number
	attempts map[int]int     // opened so far, by seq
	gens     []int           // highest generation of each step so far
	done     map[string]bool // effect keys that were recorded as done
}

var modelPlan = []Step{
	{Kind: "a"},
	{Kind: "h", Section: "s"}, {Kind: "c", Section: "s"}, {Kind: "r", Section: "s", Always: true},
	{Kind: "m"},
	{Kind: "t", Section: "u"}, {Kind: "v", Section: "u", Always: true},
	{Kind: "z", Always: true},
}

func newModel() *model {
	m := &model{
		job:   Job{ID: "j", Kind: "k", State: Queued, Mode: Forward},
		clock: time.Unix(1, 0), held: map[string]int{}, open: map[string]bool{},
		attempts: map[int]int{}, done: map[string]bool{},
	}
	for i, s := range modelPlan {
		s.Seq, s.Phase, s.State, s.Generation = i, MainPhase, StepPending, 1
		m.job.Steps = append(m.job.Steps, s)
	}
	return m
}

func (m *model) fsm() *fsm {
	m.clock = m.clock.Add(time.Second)
	return newFSM(&m.job, m.clock)
}

// absorb books what the machine would write.
func (m *model) absorb(t *rapid.T, mc *fsm) {
	for _, a := range mc.closed {
		// a second end of one attempt counts for nothing
		delete(m.open, fmt.Sprint(a.Seq, "/", a.Number))
	}
	for _, a := range mc.opened {
		m.attempts[a.Seq]++
		if a.Number != m.attempts[a.Seq] {
			t.Fatalf("attempt %d of step %d is numbered %d", m.attempts[a.Seq], a.Seq, a.Number)
		}
		m.open[fmt.Sprint(a.Seq, "/", a.Number)] = true
		s := m.job.Steps[a.Seq]
		if s.Section != "" && !s.Always {
			m.held[s.Section]++
		}
	}
}

func (m *model) goOn(t *rapid.T, mc *fsm) {
	m.step = mc.proceed()
	m.absorb(t, mc)
}

// take is a process that takes the job: at first, after a crash, or after another released it.
func (m *model) take(t *rapid.T) {
	if !m.job.State.Active() || m.step != nil {
		return // not possible now
	}
	m.job.Owner, m.job.Epoch = fmt.Sprint("p", m.job.Epoch), m.job.Epoch+1
	m.goOn(t, m.fsm())
}

// crash takes the process away; what it had not written is lost.
func (m *model) crash(t *rapid.T) {
	if m.step == nil {
		return // not possible now
	}
	m.step = nil
}

// call is a handler's call with an answer, then what the worker does with it.
func (m *model) call(t *rapid.T) {
	if m.step == nil {
		return // not possible now
	}
	a := rapid.SampledFrom([]answer{
		{verdict: verdictDone}, {verdict: verdictDone}, {verdict: verdictDone},
		{verdict: verdictNotNeeded}, {verdict: verdictAgain},
		{verdict: verdictOperator, failure: &Failure{Message: "attach it"}},
		{verdict: verdictBack, reason: "broken"},
		{verdict: verdictBack, uncounted: true, reason: "refused"},
		{verdict: verdictStopped},
		{verdict: verdictFailed, failure: &Failure{Message: "no"}},
		{verdict: verdictFailed, failure: &Failure{Message: "never", Permanent: true}},
	}).Draw(t, "answer")
	s := m.step
	if m.job.Steps[s.Seq].State != StepRunning && m.job.Steps[s.Seq].State != StepWaiting {
		t.Fatalf("step %s is at hand and %s", s.Kind, s.State)
	}
	if a.verdict == verdictDone {
		m.done[effectKey("j", s.Kind, s.Generation)] = true
	}
	if s.Always && s.Section != "" && (a.verdict == verdictDone || a.verdict == verdictNotNeeded) {
		m.held[s.Section] = 0
	}
	mc := m.fsm()
	sequel := mc.conclude(s, a, 3, 3)
	if a.verdict == verdictBack && s.State == StepPending {
		m.held[s.Section] = 0 // the worker drops what the section kept
	}
	switch {
	case sequel == polls:
		m.absorb(t, mc)
	case m.job.Owner == "":
		m.step = nil
		m.absorb(t, mc)
	default: // goes on, or begins a new attempt after its back-off
		m.goOn(t, mc)
	}
}

func (m *model) request(t *rapid.T) {
	kind := rapid.SampledFrom([]string{"a", "h", "c", "r", "m", "t", "v", "z", "x"}).Draw(t, "step")
	verb := rapid.SampledFrom([]string{"retry", "retry", "retry_step", "redo", "skip", "cancel",
		"cleanup"}).Draw(t, "verb")
	before := m.job.clone()
	mc := m.fsm()
	var err error
	switch verb {
	case "retry":
		err = mc.retry()
	case "retry_step":
		err = mc.retryStep(kind)
	case "redo":
		err = mc.redo(kind)
	case "skip":
		err = mc.skip(kind, "because")
	case "cancel":
		err = mc.cancel(false)
	case "cleanup":
		err = mc.cleanup(func(from int) []Step {
			return []Step{{Seq: from, Kind: "x", Phase: CleanupPhase, State: StepPending,
				Generation: 1}}
		})
	}
	if err != nil {
		if !slices.EqualFunc(before.Steps, m.job.Steps, sameStep) || before.State != m.job.State ||
			before.Mode != m.job.Mode {
			t.Fatalf("refused (%v), and still something changed", err)
		}
		return
	}
	if verb == "skip" {
		if s := m.job.Steps[mc.job.find(kind)]; s.Always && s.Section != "" {
			m.held[s.Section] = 0 // the operator answers for it
		}
	}
	m.absorb(t, mc)
}

func sameStep(a, b Step) bool {
	return a.State == b.State && a.Generation == b.Generation && a.Attempts == b.Attempts &&
		a.Started.Equal(b.Started)
}

// check holds in every reachable state.
func (m *model) check(t *rapid.T) {
	j := &m.job
	open := 0
	for i := range j.Steps {
		s := &j.Steps[i]
		if s.State.open() {
			open++
		}
		if i >= len(m.gens) {
			m.gens = append(m.gens, s.Generation)
		}
		if s.Generation < m.gens[i] {
			t.Fatalf("generation of %s fell from %d to %d", s.Kind, m.gens[i], s.Generation)
		}
		m.gens[i] = s.Generation
		if s.Attempts != m.attempts[i] {
			t.Fatalf("step %s counts %d attempts, %d were opened", s.Kind, s.Attempts,
				m.attempts[i])
		}
	}
	if open > 1 {
		t.Fatalf("%d steps are being worked on", open)
	}
	if len(m.open) > 1 {
		t.Fatalf("attempts left open: %v", m.open)
	}
	if m.step != nil && (j.Owner == "" || !j.State.Active()) {
		t.Fatalf("a step is at hand in a job that is %s and held by %q", j.State, j.Owner)
	}
	if !j.State.Active() {
		m.checkRest(t, open)
	}
	m.checkOrder(t)
}

func (m *model) checkRest(t *rapid.T, open int) {
	j := &m.job
	if open > 0 || len(m.open) > 0 || j.Owner != "" || j.Mode != Forward {
		t.Fatalf("at rest (%s) with %d open steps, attempts %v, owner %q, mode %s", j.State, open,
			m.open, j.Owner, j.Mode)
	}
	undone := slices.IndexFunc(j.Steps, func(s Step) bool {
		return s.Phase == MainPhase &&
			!s.State.Done()
	})
	if j.State == Succeeded && undone >= 0 {
		t.Fatalf("succeeded, but %s is %s", j.Steps[undone].Kind, j.Steps[undone].State)
	}
	for section, n := range m.held {
		i := slices.IndexFunc(j.Steps, func(s Step) bool {
			return s.Section == section &&
				s.Always
		})
		// it was tried, and reports why it failed
		if r := j.Steps[i].State; n > 0 && r != StepFailed && r != StepActionRequired {
			t.Fatalf("at rest (%s) with section %s begun and its release %s", j.State, section, r)
		}
	}
}

// checkOrder: a section is never run from its middle.
func (m *model) checkOrder(t *rapid.T) {
	if m.step == nil || m.job.Mode == Unwind {
		return
	}
	for i := range m.job.Steps[:m.step.Seq] {
		s := &m.job.Steps[i]
		if s.Phase == MainPhase && s.Section != "" && s.Section == m.step.Section &&
			!s.State.Done() {
			t.Fatalf("%s is run while %s is %s", m.step.Kind, s.Kind, s.State)
		}
		if m.job.Mode == Forward && s.Phase == MainPhase && !s.State.Done() {
			t.Fatalf("%s is run while %s before it is %s", m.step.Kind, s.Kind, s.State)
		}
	}
}

// TestModel also proves that from wherever the actions led, the job comes to rest when processes
// live and handlers answer.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newModel()
		t.Repeat(map[string]func(*rapid.T){
			"take": m.take, "call": m.call, "call again": m.call, "and again": m.call,
			"crash": m.crash, "request": m.request, "": m.check,
		})
		m.finish(t)
	})
}

func (m *model) finish(t *rapid.T) {
	for range 100 {
		m.check(t)
		switch {
		case m.step != nil:
			mc := m.fsm()
			if s := m.step; s.Always && s.Section != "" {
				m.held[s.Section] = 0
			}
			mc.conclude(m.step, answer{verdict: verdictDone}, 3, 3)
			m.goOn(t, mc)
		case m.job.State.Active():
			m.job.Owner, m.job.Epoch = "last", m.job.Epoch+1
			m.goOn(t, m.fsm())
		default:
			return
		}
	}
	t.Fatalf("the job does not come to rest: %s", m.job.State)
}
