package ec2

import (
	"context"
	"errors"
	"slices"
	"strings"
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
	made map[string]making
}

// making is what is remembered of a thing.
type making struct {
	at   time.Time
	tags map[string]string
}

func newRecent(window time.Duration, now func() time.Time) *recent {
	return &recent{window: window, now: now, started: now(), made: map[string]making{}}
}

// note remembers what was made and forgets what is old.
func (r *recent) note(id string, tags map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for old, m := range r.made {
		if now.Sub(m.at) > r.window {
			delete(r.made, old)
		}
	}
	r.made[id] = making{now, tags}
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
	m, ok := r.made[id]
	return ok && r.now().Sub(m.at) <= r.window
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

// find reads a list of one kind, i, vol or snap. A list by tags is read again while it lacks what was made here with these tags, and
// while it is empty and a predecessor's last doings may not be visible yet.
func find[T any](ctx context.Context, r *recent, kind string, f provider.Filter, id func(T) string, read func() ([]T, error)) ([]T, error) {
	var found []T
	err := poll(ctx, func() (bool, error) {
		var err error
		if found, err = read(); err != nil || len(f.Tags) == 0 {
			return true, err
		}
		complete := len(found) > 0 || !r.startedNow()
		return complete && !r.lacks(kind, f, func(wanted string) bool {
			return slices.ContainsFunc(found, func(t T) bool { return id(t) == wanted })
		}), nil
	})
	return found, err
}

// lacks says that something new should be in a list and is not.
func (r *recent) lacks(kind string, f provider.Filter, has func(id string) bool) bool {
	if f.MachineID != "" {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, m := range r.made {
		if strings.HasPrefix(id, kind+"-") && r.now().Sub(m.at) <= r.window && f.Matches(m.tags) && !has(id) {
			return true
		}
	}
	return false
}
