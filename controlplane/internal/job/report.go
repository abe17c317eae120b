package job

import (
	"slices"
	"sync"
)

// liveReport is what a running attempt has reported so far; watchers of this process see it before
// the store does.
type liveReport struct {
	mu      sync.Mutex
	seq     int
	attempt int
	report  report
	version int // grows with every change
	saved   int // version that is stored
	changed func()
}

// report is what an operator sees of an attempt.
type report struct {
	progress Progress
	found    []string
	changed  []string
}

func (l *liveReport) setProgress(p Progress) {
	l.update(func(s *report) bool {
		if s.progress == p {
			return false
		}
		s.progress = p
		return true
	})
}

func (l *liveReport) addFound(line string) {
	l.update(func(s *report) bool { return appendLine(&s.found, line) })
}

func (l *liveReport) addChanged(line string) {
	l.update(func(s *report) bool { return appendLine(&s.changed, line) })
}

func appendLine(lines *[]string, line string) bool {
	if len(*lines) >= maxLines || slices.Contains(*lines, line) {
		return false
	}
	*lines = append(*lines, line)
	return true
}

func (l *liveReport) update(change func(*report) bool) {
	l.mu.Lock()
	did := change(&l.report)
	if did {
		l.version++
	}
	l.mu.Unlock()
	if did {
		l.changed()
	}
}

// unsaved reports whether anything changed since markSaved.
func (l *liveReport) unsaved() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.version != l.saved
}

// markSaved says that everything up to a version is stored.
func (l *liveReport) markSaved(version int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved = max(l.saved, version)
}

func (l *liveReport) at() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.version
}

func (l *liveReport) current() report {
	l.mu.Lock()
	defer l.mu.Unlock()
	return report{progress: l.report.progress, found: slices.Clone(l.report.found),
		changed: slices.Clone(l.report.changed)}
}

// overlay lays the report over the step's row, if that is still about the attempt.
func (l *liveReport) overlay(j *Job) {
	if l.seq >= len(j.Steps) {
		return
	}
	step := &j.Steps[l.seq]
	if step.State.open() && step.Attempts == l.attempt {
		l.current().write(step)
	}
}

func (r report) write(step *Step) {
	step.Progress, step.Found, step.Changed = r.progress, r.found, r.changed
}
