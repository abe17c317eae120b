package quiesce

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/understudy-db/understudy/agent/internal/freeze"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// frozenFilesystem freezes a filesystem at most once, and always thaws it.
type frozenFilesystem struct {
	fs *freeze.Filesystem

	mu     sync.Mutex
	ended  bool          // no freeze may begin any more
	frozen bool          // by this process
	since  time.Time     // when freezing began
	lasted time.Duration // once thawed
	busy   chan struct{} // closed when a freeze that began is over; nil before
}

// openFilesystem opens the filesystem while that is still possible.
func openFilesystem(mount string) (*frozenFilesystem, error) {
	fs, err := freeze.Open(mount)
	if errors.Is(err, freeze.ErrRoot) {
		return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_MARIADB_SETTING,
			"cannot freeze the filesystem of the datadir: it is the host's own root",
			errs.Wrap(err),
			errs.WithHint("put the datadir on a volume of its own"))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot freeze the filesystem of the datadir: %w", err)
	}
	return &frozenFilesystem{fs: fs}, nil
}

// freeze freezes the filesystem. The kernel's call has no deadline: when ctx ends first, freeze
// returns, and the filesystem is thawed as soon as the call returns.
func (f *frozenFilesystem) freeze(ctx context.Context) error {
	f.mu.Lock()
	if f.ended {
		f.mu.Unlock()
		return context.Canceled
	}
	f.since, f.busy = time.Now(), make(chan struct{})
	f.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- f.freezeNow() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *frozenFilesystem) freezeNow() error {
	defer close(f.busy)
	err := f.fs.Freeze()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.frozen = true
	}
	if f.ended {
		f.thawLocked()
	}
	return notFrozen(err)
}

// notFrozen adds what can be done about a filesystem that was not frozen.
func notFrozen(err error) error {
	switch {
	case errors.Is(err, freeze.ErrFrozen):
		return errs.New(errs.Aborted, errorsv1.Reason_REASON_FILESYSTEM_FROZEN,
			"cannot freeze the filesystem of the datadir", errs.Wrap(err),
			errs.WithHint("wait for the end of the other freeze, or thaw it (fsfreeze -u)"),
			errs.Retry(time.Second))
	case errors.Is(err, freeze.ErrUnsupported):
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_FILESYSTEM_MISSING,
			"cannot freeze the filesystem of the datadir", errs.Wrap(err),
			errs.WithHint("put the datadir on ext4 or xfs"))
	}
	return err
}

// stillFrozen proves that no other process thawed the filesystem.
func (f *frozenFilesystem) stillFrozen() error {
	frozen, err := f.fs.Frozen()
	if err == nil && !frozen {
		err = errors.New("another process thawed the filesystem")
	}
	return err
}

// thaw thaws the filesystem for good.
func (f *frozenFilesystem) thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.thawLocked()
}

func (f *frozenFilesystem) thawLocked() {
	if !f.frozen {
		return
	}
	// It is fine if another process thawed it before; a failure is left to ExecStopPost.
	if _, err := f.fs.Thaw(); err == nil {
		f.frozen = false
		f.lasted = time.Since(f.since)
	}
}

// took is how long it was frozen.
func (f *frozenFilesystem) took() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lasted
}

// close waits for a freeze that ctx left behind, and closes the filesystem.
func (f *frozenFilesystem) close() {
	f.thaw()
	if f.busy != nil {
		<-f.busy
	}
	f.fs.Close()
}
