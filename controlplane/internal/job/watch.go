package job

import (
	"context"
	"reflect"
	"sync"
	"time"
)

// hub tells watchers in this process which jobs changed.
type hub struct {
	mu   sync.Mutex
	jobs map[string]map[chan struct{}]bool
}

func newHub() *hub { return &hub{jobs: map[string]map[chan struct{}]bool{}} }

func (h *hub) subscribe(id string) (changed <-chan struct{}, leave func()) {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.jobs[id] == nil {
		h.jobs[id] = map[chan struct{}]bool{}
	}
	h.jobs[id][ch] = true
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.jobs[id], ch)
		if len(h.jobs[id]) == 0 {
			delete(h.jobs, id)
		}
	}
}

func (h *hub) notify(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.jobs[id] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// Watch sends the job as it is now and then after every change, also by other processes (within
// Config.Poll). A slow reader misses snapshots, but never the latest. The channel is closed when
// ctx ends; a job that has ended can be retried, so its end does not close it.
func (e *Engine[T]) Watch(ctx context.Context, id string) (<-chan Job, error) {
	changed, leave := e.hub.subscribe(id)
	first, err := e.Get(ctx, id)
	if err != nil {
		leave()
		return nil, err
	}
	out := make(chan Job, 1)
	out <- first
	go func() {
		defer close(out)
		defer leave()
		e.follow(ctx, first, changed, out)
	}()
	return out, nil
}

func (e *Engine[T]) follow(ctx context.Context, last Job, changed <-chan struct{}, out chan Job) {
	ticker := time.NewTicker(e.cfg.Poll)
	defer ticker.Stop()
	stored := Job{ID: last.ID, Rev: -1} // not read yet: that of a new job is 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-ticker.C:
		}
		now, err := e.again(ctx, &stored)
		if err != nil || same(now, last) {
			continue // a store that is out of reach is polled again
		}
		last = now
		select {
		case <-out: // an older snapshot that nobody read
		default:
		}
		out <- now.clone()
	}
}

// again is Get for somebody who has the job's rows of an earlier look: they are read where they
// changed since.
func (e *Engine[T]) again(ctx context.Context, stored *Job) (Job, error) {
	overlay := e.reports()
	err := e.store.Read(ctx, func(ctx context.Context, tx T) error {
		records := e.store.Jobs(tx)
		rev, err := records.Rev(ctx, stored.ID)
		if err != nil || rev == stored.Rev {
			return err
		}
		j, err := records.Get(ctx, stored.ID)
		if err == nil {
			*stored = j
		}
		return err
	})
	if err != nil {
		return Job{}, err
	}
	now := stored.clone()
	overlay(&now)
	return now, nil
}

// same compares what an operator sees.
func same(a, b Job) bool {
	a.Heartbeat, b.Heartbeat = 0, 0
	a.Rev, b.Rev = 0, 0
	a.Turn, b.Turn = 0, 0
	return reflect.DeepEqual(a, b)
}
