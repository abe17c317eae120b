package ec2

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// recent remembers what was made so lately that EC2 may not know it yet.
type recent struct {
	window  time.Duration
	now     func() time.Time
	started time.Time

	mu   sync.Mutex
	made map[string]time.Time
}

func newRecent(window time.Duration, now func() time.Time) *recent {
	return &recent{window: window, now: now, started: now(), made: map[string]time.Time{}}
}

// note remembers an ID and forgets those that are old.
func (r *recent) note(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for old, at := range r.made {
		if now.Sub(at) > r.window {
			delete(r.made, old)
		}
	}
	r.made[id] = now
}

// forget is for what was deleted: that it is not found is no surprise.
func (r *recent) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.made, id)
}

func (r *recent) isNew(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.made[id]
	return ok && r.now().Sub(at) <= r.window
}

// startedNow says that whoever was here before may have made something that EC2 does not show yet.
func (r *recent) startedNow() bool { return r.now().Sub(r.started) <= r.window }

// until repeats a call while EC2 does not find an ID that it gave away a moment ago.
func (r *recent) until(ctx context.Context, action, id string, call func() error) error {
	err := poll(ctx, func() (bool, error) {
		err := refused(call(), action, id)
		return !errors.Is(err, provider.ErrNotFound) || !r.isNew(id), err
	})
	return err
}

// poll looks with growing pauses until done, and gives the last error.
func poll(ctx context.Context, look func() (done bool, err error)) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		done, err := look()
		if done {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, ctx.Err())
		}
	}
}

// find reads a list by tags. Nothing found is believed once a predecessor's last doings must be visible.
func find[T any](ctx context.Context, r *recent, byTags bool, read func() ([]T, error)) ([]T, error) {
	var found []T
	err := poll(ctx, func() (bool, error) {
		var err error
		found, err = read()
		return err != nil || len(found) > 0 || !byTags || !r.startedNow(), err
	})
	return found, err
}
