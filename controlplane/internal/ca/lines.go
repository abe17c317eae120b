package ca

import (
	"context"
	"fmt"
	"sync"
)

// lines have one call at a time go on of each name. Who asks as often at once as it may waits for
// itself, and does not fill the signer's own line, which is bounded.
type lines struct {
	mu sync.Mutex
	of map[string]*line
}

type line struct {
	turn chan struct{} // of one
	in   int           // who waits for it or has it
}

// enter waits for the turn of a name. Leave gives it up.
func (l *lines) enter(ctx context.Context, name string) (leave func(), err error) {
	l.mu.Lock()
	if l.of == nil {
		l.of = map[string]*line{}
	}
	at := l.of[name]
	if at == nil {
		at = &line{turn: make(chan struct{}, 1)}
		l.of[name] = at
	}
	at.in++
	l.mu.Unlock()
	gone := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if at.in--; at.in == 0 {
			delete(l.of, name)
		}
	}
	select {
	case at.turn <- struct{}{}:
		return func() { <-at.turn; gone() }, nil
	case <-ctx.Done():
		gone()
		return nil, fmt.Errorf("others of %s waited for a signature as well: %w", name, ctx.Err())
	}
}
