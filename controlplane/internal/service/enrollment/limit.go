package enrollment

import (
	"sync"
	"time"
)

const (
	// burst is how many enrolments one address may ask for at once, every how often it may ask for
	// one more.
	burst = 20
	every = 500 * time.Millisecond
	// maxSources bounds what is remembered; strangers cannot make it grow.
	maxSources = 4096
)

// limiter holds strangers down, each address by itself: a token cannot be guessed, but each try
// costs signatures and a look into the store.
type limiter struct {
	now func() time.Time
	// burst is how many at once, every how often one more.
	burst int
	every time.Duration

	mu sync.Mutex
	// freeAt is when an address that asked will have its whole burst again.
	freeAt map[string]time.Time
}

func newLimiter(now func() time.Time) *limiter {
	return limiterOf(now, burst, every)
}

func limiterOf(now func() time.Time, burst int, every time.Duration) *limiter {
	return &limiter{now: now, burst: burst, every: every, freeAt: map[string]time.Time{}}
}

// take is 0 when the address may go on, else how long it has to wait.
func (l *limiter) take(address string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	free := l.freeAt[address]
	if free.Before(now) {
		free = now
	}
	if wait := free.Add(l.every).Sub(now) - time.Duration(l.burst)*l.every; wait > 0 {
		return wait
	}
	if l.freeAt[address].IsZero() && len(l.freeAt) >= maxSources {
		l.forget(now)
	}
	l.freeAt[address] = free.Add(l.every)
	return 0
}

// forget drops those who have their burst again, and everybody when nobody has: better to be
// lenient than to grow.
func (l *limiter) forget(now time.Time) {
	for address, free := range l.freeAt {
		if !free.After(now) {
			delete(l.freeAt, address)
		}
	}
	if len(l.freeAt) >= maxSources {
		clear(l.freeAt)
	}
}
