package marks_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/understudy-db/understudy/agent/internal/systemd"
)

// journal is the log of a MariaDB that a test writes.
type journal struct {
	mu      sync.Mutex
	entries []systemd.Entry
	run     int
	more    chan struct{}
	fails   error
}

func newJournal() *journal {
	j := &journal{more: make(chan struct{})}
	j.write(fresh)
	return j
}

func (j *journal) write(lines ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, text := range lines {
		if text == fresh {
			j.run++
		}
		j.entries = append(j.entries, systemd.Entry{Message: "2026-11-30  0:15:24 " + text,
			Time: time.Now(), InvocationID: fmt.Sprint(j.run),
			Cursor: fmt.Sprint(len(j.entries) + 1)})
	}
	close(j.more)
	j.more = make(chan struct{})
}

// begin is the index of the entry to begin with.
func (j *journal) begin(from systemd.From) (next int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := fmt.Sscan(from.Cursor, &next); err == nil {
		return next
	}
	if from.Since.IsZero() {
		return max(0, len(j.entries)-1)
	}
	return len(j.entries) - len(slices.DeleteFunc(slices.Clone(j.entries),
		func(e systemd.Entry) bool { return e.Time.Before(from.Since) }))
}

func (j *journal) follow(ctx context.Context, from systemd.From,
	each func(systemd.Entry) error) error {
	next := j.begin(from)
	for {
		j.mu.Lock()
		entries, more, err := j.entries, j.more, j.fails
		j.mu.Unlock()
		if err != nil {
			return err
		}
		for ; next < len(entries); next++ {
			if err := each(entries[next]); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-more:
		}
	}
}
