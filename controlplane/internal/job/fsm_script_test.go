package job

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// script plays words on a job's rows.
type script struct {
	t       *testing.T
	job     Job
	cleanup []Step
	clock   time.Time
	step    *Step // at hand; nil when no process holds the job
}

func newScript(t *testing.T, plan string) *script {
	s := &script{t: t, job: Job{ID: "j", Kind: "k", State: Queued, Mode: Forward},
		clock: time.Unix(1, 0)}
	phase, section := MainPhase, ""
	for _, word := range strings.Fields(plan) {
		if word == "/" {
			phase = CleanupPhase
			continue
		}
		if strings.HasPrefix(word, "[") {
			section = "s"
		}
		step := Step{Kind: strings.Trim(word, "[]!"), Section: section,
			Always: strings.Contains(word, "!"), Phase: phase, State: StepPending, Generation: 1}
		if strings.HasSuffix(word, "]") {
			section = ""
		}
		if phase == CleanupPhase {
			s.cleanup = append(s.cleanup, step)
			continue
		}
		step.Seq = len(s.job.Steps)
		s.job.Steps = append(s.job.Steps, step)
	}
	return s
}

func (s *script) fsm() *fsm {
	s.clock = s.clock.Add(time.Second)
	return newFSM(&s.job, s.clock)
}

func (s *script) do(word string) {
	s.t.Helper()
	switch word {
	case "crash":
		s.step = nil
		return
	case "take":
		s.takeJob()
		return
	case "++":
		s.goOn(s.fsm())
		return
	}
	if a, ok := answerOf(word); ok {
		s.answer(a)
		return
	}
	name, refused := strings.CutPrefix(word, "!")
	before := s.show()
	err := s.request(name)
	if (err != nil) != refused {
		s.t.Errorf("%s: error %v", word, err)
	}
	if refused && s.show() != before {
		s.t.Errorf("%s changed %s to %s", word, before, s.show())
	}
}

func (s *script) takeJob() {
	s.t.Helper()
	if !s.job.State.Active() {
		s.t.Fatalf("nobody takes a job that is %s", s.job.State)
	}
	s.job.Owner, s.job.Epoch = "me", s.job.Epoch+1
	s.goOn(s.fsm())
}

func (s *script) goOn(m *fsm) {
	if s.step = m.proceed(); s.step == nil && s.job.Owner != "" {
		s.t.Errorf("the job is %s and still held", s.job.State)
	}
}

func answerOf(word string) (answer, bool) {
	switch word {
	case "+":
		return answer{verdict: verdictDone}, true
	case "~":
		return answer{verdict: verdictNotNeeded}, true
	case ".":
		return answer{verdict: verdictAgain}, true
	case "?":
		return answer{verdict: verdictOperator, failure: &Failure{Message: "ask"}}, true
	case "-":
		return answer{verdict: verdictFailed, failure: &Failure{Message: "no"}}, true
	case "=":
		return answer{verdict: verdictFailed, failure: &Failure{Message: "no", Permanent: true}},
			true
	case "stop":
		return answer{verdict: verdictStopped}, true
	case "^":
		return answer{verdict: verdictBack, uncounted: true}, true
	}
	return answer{verdict: verdictBack}, word == "<"
}

func (s *script) answer(a answer) {
	s.t.Helper()
	if s.step == nil {
		s.t.Fatalf("no step is at hand: %s", s.show())
	}
	m := s.fsm()
	if m.conclude(s.step, a, 2, 3) == proceeds {
		if s.job.Owner == "" {
			s.step = nil
			return
		}
		s.goOn(m)
	}
}

func (s *script) request(word string) error {
	m := s.fsm()
	verb, step, _ := strings.Cut(word, ":")
	switch verb {
	case "retry":
		if step != "" {
			return m.retryStep(step)
		}
		return m.retry()
	case "redo":
		return m.redo(step)
	case "skip":
		return m.skip(step, "because")
	case "cancel":
		return m.cancel(len(s.cleanup) > 0)
	case "cleanup":
		return m.cleanup(func(from int) []Step {
			rows := append([]Step(nil), s.cleanup...)
			for i := range rows {
				rows[i].Seq = from + i
			}
			return rows
		})
	}
	s.t.Fatalf("no such word: %s", word)
	return nil
}

func (s *script) show() string {
	var out strings.Builder
	out.WriteString(string(s.job.State))
	phase := MainPhase
	for _, step := range s.job.Steps {
		if step.Phase != phase {
			out.WriteString(" |")
			phase = step.Phase
		}
		out.WriteString(" " + step.Kind + sign(step.State))
		if step.Generation > 1 {
			fmt.Fprint(&out, step.Generation)
		}
	}
	return out.String()
}

func sign(s StepState) string {
	return map[StepState]string{
		StepSucceeded: "+", StepSkipped: "~", StepRunning: "*", StepWaiting: ".", StepFailed: "-",
		StepActionRequired: "?", StepCancelled: "x",
	}[s]
}
