package job

import "slices"

// What a job's rows say. Nothing here changes them.

// next is the step that is open already, or else the first that is wanted.
func (j *Job) next() (int, bool) {
	first := -1
	for i := range j.Steps {
		s := &j.Steps[i]
		if !j.wanted(s) {
			continue
		}
		if s.State.open() {
			return i, true
		}
		if first < 0 {
			first = i
		}
	}
	return first, first >= 0
}

func (j *Job) wanted(s *Step) bool {
	switch j.Mode {
	case Unwind:
		return j.due(s)
	case Solo:
		return j.within(s) && !s.State.Done()
	case Cleanup:
		return s.Phase == CleanupPhase && !s.State.Done()
	default:
		return s.Phase == MainPhase && !s.State.Done()
	}
}

// due reports whether an always-step is still to be run by an unwinding job: one whose section has
// begun, or one that has begun itself and so owes its release from before.
func (j *Job) due(s *Step) bool {
	if !s.Always || s.State != StepPending && !s.State.open() {
		return false
	}
	return s.begun() || j.within(s) && slices.ContainsFunc(j.Steps, func(other Step) bool {
		return other.Phase == MainPhase && other.begun() &&
			(s.Section == "" || s.Section == other.Section)
	})
}

func (j *Job) within(s *Step) bool {
	return s.Phase == MainPhase && s.Seq >= j.From && s.Seq <= j.To
}

func (j *Job) lastMain() int {
	last := -1
	for i := range j.Steps {
		if j.Steps[i].Phase == MainPhase {
			last = i
		}
	}
	return last
}

// span is the step's section, or the step itself when it has none.
func (j *Job) span(seq int) (from, to int) {
	from, to = seq, seq
	section := j.Steps[seq].Section
	if section == "" {
		return from, to
	}
	same := func(i int) bool {
		return i >= 0 && i < len(j.Steps) && j.Steps[i].Phase == MainPhase &&
			j.Steps[i].Section == section
	}
	for same(from - 1) {
		from--
	}
	for same(to + 1) {
		to++
	}
	return from, to
}

func (j *Job) find(kind string) int {
	for i := range j.Steps {
		if j.Steps[i].Kind == kind {
			return i
		}
	}
	return -1
}

// blocker is the first step that keeps the job from having succeeded, or -1.
func (j *Job) blocker() int {
	for i := range j.Steps {
		if s := &j.Steps[i]; s.Phase == MainPhase && !s.State.Done() {
			return i
		}
	}
	return -1
}

// lastOwn is the last step that is neither an always-step nor skipped by an operator, or -1.
func (j *Job) lastOwn() int {
	last := -1
	for i := range j.Steps {
		if s := &j.Steps[i]; s.Phase == MainPhase && !s.Always && !s.skippedByOperator() {
			last = i
		}
	}
	return last
}

func (j *Job) hasCleanup() bool {
	return len(j.Steps) > j.lastMain()+1
}

// cleaningUp reports whether a cleanup has begun to remove what the job made.
func (j *Job) cleaningUp() bool {
	for i := range j.Steps {
		if s := &j.Steps[i]; s.Phase == CleanupPhase && (s.begun() || s.skippedByOperator()) {
			return true
		}
	}
	return j.Cleaned
}

func (s *Step) begun() bool { return !s.Started.IsZero() }

// owed reports whether a release was tried and did not get done. Such a step stays begun when it is
// reset, so that it is run whatever comes in between.
func (s *Step) owed() bool {
	return s.Always && s.begun() && (s.State == StepFailed || s.State == StepActionRequired ||
		s.State == StepPending)
}

// skippedByOperator tells an operator's skip from a handler's finding that there was nothing to do,
// which holds for that time only.
func (s *Step) skippedByOperator() bool { return s.State == StepSkipped && !s.begun() }

func (j *Job) leftOut() (kinds []string) {
	for i := range j.Steps {
		if j.Steps[i].skippedByOperator() {
			kinds = append(kinds, j.Steps[i].Kind)
		}
	}
	return kinds
}
