package job

import (
	"slices"
	"sync"
)

// live is what a running attempt has told so far; watchers of this process see it before the store
// does.
type live struct {
	mu      sync.Mutex
	seq     int
	attempt int
	said    said
	version int // grows with everything told
	saved   int // version that is stored
	changed func()
}

// said is what a person sees of an attempt.
type said struct {
	progress Progress
	found    []string
	changed  []string
}

func (l *live) setProgress(p Progress) {
	l.update(func(s *said) bool {
		if s.progress == p {
			return false
		}
		s.progress = p
		return true
	})
}

func (l *live) addFound(line string) {
	l.update(func(s *said) bool { return appendLine(&s.found, line) })
}

func (l *live) addChanged(line string) {
	l.update(func(s *said) bool { return appendLine(&s.changed, line) })
}

func appendLine(lines *[]string, line string) bool {
	if len(*lines) >= maxLines || slices.Contains(*lines, line) {
		return false
	}
	*lines = append(*lines, line)
	return true
}

func (l *live) update(change func(*said) bool) {
	l.mu.Lock()
	did := change(&l.said)
	if did {
		l.version++
	}
	l.mu.Unlock()
	if did {
		l.changed()
	}
}

// unsaved reports whether anything was told since markSaved.
func (l *live) unsaved() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.version != l.saved
}

// markSaved says that everything up to a version is stored.
func (l *live) markSaved(version int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved = max(l.saved, version)
}

func (l *live) at() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.version
}

func (l *live) now() said {
	l.mu.Lock()
	defer l.mu.Unlock()
	return said{progress: l.said.progress, found: slices.Clone(l.said.found),
		changed: slices.Clone(l.said.changed)}
}

// over lays what was said over the step's row, if it is still about that attempt.
func (l *live) over(j *Job) {
	if l.seq >= len(j.Steps) {
		return
	}
	step := &j.Steps[l.seq]
	if step.State.open() && step.Attempts == l.attempt {
		l.now().write(step)
	}
}

func (s said) write(step *Step) {
	step.Progress, step.Found, step.Changed = s.progress, s.found, s.changed
}
