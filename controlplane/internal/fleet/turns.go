package fleet

import (
	"context"
	"fmt"
	"sync"
)

// turns lets one caller a key in at a time. It remembers no key that nobody has. The zero value is
// ready.
type turns struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // closed when its holder leaves
}

// enter waits for the key until ctx ends.
func (t *turns) enter(ctx context.Context, key string) (leave func(), err error) {
	for {
		t.mu.Lock()
		other, taken := t.busy[key]
		if !taken {
			break
		}
		t.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, fmt.Errorf("another change of it is under way: %w", ctx.Err())
		}
	}
	defer t.mu.Unlock()
	if t.busy == nil {
		t.busy = map[string]chan struct{}{}
	}
	mine := make(chan struct{})
	t.busy[key] = mine
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.busy, key)
		close(mine)
	}, nil
}
