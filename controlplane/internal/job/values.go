package job

import (
	"errors"
	"io"
	"sync"
)

// sessionValues are the values that handlers keep while this process holds the job, each with the
// section it was kept in.
type sessionValues struct {
	mu      sync.Mutex
	section string
	items   map[string]kept
}

type kept struct {
	value   io.Closer
	section string
}

func newSessionValues() *sessionValues { return &sessionValues{items: map[string]kept{}} }

// enter says which section the next values are kept in, and closes those of a section that was
// left.
func (s *sessionValues) enter(section string) error {
	s.mu.Lock()
	left := s.section
	s.section = section
	s.mu.Unlock()
	if left == section || left == "" {
		return nil
	}
	return s.closeSection(left)
}

func (s *sessionValues) put(name string, value io.Closer) {
	s.mu.Lock()
	old, had := s.items[name]
	s.items[name] = kept{value: value, section: s.section}
	s.mu.Unlock()
	if had && old.value != value {
		_ = old.value.Close() // it was replaced
	}
}

func (s *sessionValues) get(name string) (io.Closer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.items[name]
	return k.value, ok
}

func (s *sessionValues) drop(name string) error {
	s.mu.Lock()
	k, ok := s.items[name]
	delete(s.items, name)
	s.mu.Unlock()
	if !ok {
		return nil
	}
	return k.value.Close()
}

func (s *sessionValues) closeSection(section string) error {
	return s.closeIf(func(k kept) bool { return k.section == section })
}

func (s *sessionValues) closeAll() error {
	return s.closeIf(func(kept) bool { return true })
}

func (s *sessionValues) closeIf(match func(kept) bool) error {
	s.mu.Lock()
	var closing []io.Closer
	for name, k := range s.items {
		if match(k) {
			closing = append(closing, k.value)
			delete(s.items, name)
		}
	}
	s.mu.Unlock()
	var errs []error
	for _, c := range closing {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
