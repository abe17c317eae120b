package ec2

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/loop"
)

const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
	// patience is how long one call waits for what EC2 may show late: its caller may hold a server
	// still. Who can wait longer is told to.
	patience = 5 * time.Second
)

// recent remembers what was made so lately that EC2 may not know it yet, which is for window.
type recent struct {
	window  time.Duration
	now     func() time.Time
	started time.Time

	mu     sync.Mutex
	made   map[string]making
	maybe  []making
	tokens map[string]time.Time // when EC2 was first found to know them and to show nothing
}

// making is what is remembered of a thing, or of a call without an answer that may have made one.
type making struct {
	kind string // i, vol or snap; of an attachment nothing that is listed
	at   time.Time
	tags map[string]string
}

func newRecent(window time.Duration, now func() time.Time) *recent {
	return &recent{window: window, now: now, started: now(), made: map[string]making{},
		tokens: map[string]time.Time{}}
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
	kind := ""
	if idPattern.MatchString(id) {
		kind, _, _ = strings.Cut(id, "-")
	}
	r.made[id] = making{kind, now, tags}
}

// noteMaybe remembers that a call may have made something although its answer never came: EC2 may
// be at it still, and shows it later.
func (r *recent) noteMaybe(kind string, tags map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	r.maybe = slices.DeleteFunc(r.maybe, func(m making) bool { return now.Sub(m.at) > r.window })
	r.maybe = append(r.maybe, making{kind, now, tags})
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

// mayShow says that what a client token made, of which EC2 shows nothing, may show yet.
func (r *recent) mayShow(token string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	maps.DeleteFunc(r.tokens, func(_ string, at time.Time) bool { return now.Sub(at) > time.Hour })
	if _, known := r.tokens[token]; !known {
		r.tokens[token] = now
	}
	return now.Sub(r.tokens[token]) <= r.window
}

// patience is how long a call waits by itself.
func (r *recent) patience() time.Duration { return min(patience, r.window) }

// startedNow says that whoever was here before may have made something that EC2 shows only within
// that time.
func (r *recent) startedNow(within time.Duration) bool {
	return r.now().Sub(r.started) <= within
}

// until repeats a call for a while when EC2 does not find an ID that it gave away a short time ago.
// Then it is for the caller to ask again: ErrThrottled.
func (r *recent) until(ctx context.Context, action, id string, call func() error) error {
	began := r.now()
	return poll(ctx, func() (bool, error) {
		err := refused(call(), action, id)
		if !errors.Is(err, provider.ErrNotFound) || !r.isNew(id) {
			return true, err
		}
		if r.now().Sub(began) <= r.patience() {
			return false, err
		}
		return true, r.unknownYet(err, id)
	})
}

var errLate = errors.New("EC2 shows it late")

// late has the caller wait for what EC2 shows late: ErrThrottled.
func late(cause error, format string, args ...any) error {
	return provider.Throttled(errors.Join(errLate, cause), lastPause, format, args...)
}

// perhapsLate is a refusal for what EC2 shows late, perhaps: one as any other, once that was waited
// for.
type perhapsLate struct{ error }

// Is has patiently wait for it.
func (e perhapsLate) Is(target error) bool { return target == errLate }

// Unwrap is the refusal.
func (e perhapsLate) Unwrap() error { return e.error }

// patiently repeats a call for a while that waits for what EC2 shows late.
func (r *recent) patiently(ctx context.Context, call func() error) error {
	began := r.now()
	return poll(ctx, func() (bool, error) {
		err := call()
		return !errors.Is(err, errLate) || r.now().Sub(began) > r.patience(), err
	})
}

// unknownYet has the caller wait when EC2 does not find one of the IDs, and gave that away a short
// time ago.
func (r *recent) unknownYet(err error, ids ...string) error {
	if !errors.Is(err, provider.ErrNotFound) || !slices.ContainsFunc(ids, r.isNew) {
		return err
	}
	return late(nil, "EC2 does not know yet what it has made: %s", err)
}

// poll looks with growing pauses until done, and gives the last error.
func poll(ctx context.Context, look func() (done bool, err error)) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		done, err := look()
		if done {
			return err
		}
		if ended := loop.Pause(ctx, pause); ended != nil {
			return errors.Join(err, ended)
		}
	}
}

// find reads a list of one kind, i, vol or snap. A list by tags is read again while it lacks what
// was made, or may have been made, here with these tags; while what others made until the filter's
// time may not be visible yet; and while it is empty and a predecessor's last doings may not be.
// One that has to be complete is refused with ErrThrottled while that is not sure, be it empty or
// not.
func find[T any](ctx context.Context, r *recent, kind string, f provider.Filter,
	look func(T) (id string, tags []types.Tag), read func() ([]T, error)) ([]T, error) {
	var found []T
	began, within := r.now(), r.patience()
	if f.Complete {
		within = r.window
	}
	err := poll(ctx, func() (bool, error) {
		var err error
		if found, err = read(); err != nil || len(f.Tags) == 0 {
			return true, err
		}
		complete := (len(found) > 0 && !f.Complete || !r.startedNow(within)) &&
			r.now().Sub(f.MadeUntil) > within
		shown := make(map[string]map[string]string, len(found))
		for _, t := range found {
			id, tags := look(t)
			shown[id] = fromTags(tags)
		}
		if complete && !r.lacks(kind, f, shown, within) {
			return true, nil
		}
		if f.Complete && r.now().Sub(began) > r.patience() {
			return true, provider.Throttled(nil, lastPause, "EC2 may not show yet all that was "+
				"made: waiting until it does, at most %s", r.window)
		}
		return false, nil
	})
	return found, err
}

// lacks says that something new should be, or may yet come, in a list and is not there; shown has
// the tags by ID.
func (r *recent) lacks(kind string, f provider.Filter, shown map[string]map[string]string,
	within time.Duration) bool {
	if f.MachineID != "" {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	isDue := func(m making) bool {
		return m.kind == kind && r.now().Sub(m.at) <= within &&
			f.Matches(m.tags)
	}
	for id, m := range r.made {
		if _, there := shown[id]; isDue(m) && !there {
			return true
		}
	}
	return slices.ContainsFunc(r.maybe,
		func(m making) bool { return isDue(m) && !carried(m.tags, shown) })
}

// carried says that one of the things has all these tags.
func carried(tags map[string]string, shown map[string]map[string]string) bool {
	wanted := provider.Filter{Tags: tags}
	for _, have := range shown {
		if wanted.Matches(have) {
			return true
		}
	}
	return false
}
