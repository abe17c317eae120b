package observe

import (
	"context"
	"sync"
	"time"
)

// hungLimit is how long a look that hangs is waited for before another one is tried.
const hungLimit = time.Minute

// probe is a part of a sample. One that does not return is not run a second time beside itself:
// that it hangs is what is observed.
type probe[T any] struct {
	mu    sync.Mutex
	last  T
	since time.Time // when the look that has not returned yet began; zero for none
}

// run looks and waits for the result, at most for the limit. It answers with the latest result, and
// since when the look hangs; the zero time when it does not. The look goes on beyond the limit, up
// to hungLimit: what is asked again and again of a server that hangs only adds to its queue.
func (p *probe[T]) run(ctx context.Context, limit time.Duration,
	look func(ctx context.Context) T) (T, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.since.IsZero() {
		return p.last, p.since
	}
	p.since = time.Now()
	done := make(chan struct{})
	ctx, cancel := context.WithTimeout(ctx, hungLimit)
	go func() {
		defer cancel()
		found := look(ctx)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.last, p.since = found, time.Time{}
		close(done)
	}()
	p.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	p.mu.Lock()
	return p.last, p.since
}

// latest is the latest result, and since when the look that goes on hangs.
func (p *probe[T]) latest() (T, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last, p.since
}
