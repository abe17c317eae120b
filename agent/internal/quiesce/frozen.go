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
	fs     kernelFreeze
	marker string // the file that exists while this process may have frozen it

	mu     sync.Mutex
	ended  bool          // no freeze may begin any more
	frozen bool          // by this process
	since  time.Time     // when freezing began
	lasted time.Duration // once thawed
	call   chan struct{} // closed when the call that may freeze is over; nil without one
}

// kernelFreeze is a *freeze.Filesystem.
type kernelFreeze interface {
	Freeze() error
	Thaw() (thawed bool, err error)
	Close() error
}

// openFilesystem opens the filesystem while that is still possible.
func openFilesystem(mount, marker string) (*frozenFilesystem, error) {
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
	return &frozenFilesystem{fs: fs, marker: marker}, nil
}

// freeze freezes the filesystem.
func (f *frozenFilesystem) freeze(ctx context.Context) error {
	f.mu.Lock()
	f.since = time.Now()
	f.mu.Unlock()
	return f.within(ctx, func(err error) error {
		f.frozen = err == nil
		return notFrozen(err)
	})
}

// stillFrozen proves that no other process thawed the filesystem. The kernel tells that only to one
// who tries to freeze it.
func (f *frozenFilesystem) stillFrozen(ctx context.Context) error {
	err := f.within(ctx, func(err error) error {
		switch {
		case errors.Is(err, freeze.ErrFrozen):
			return nil
		case err != nil:
			return err
		}
		f.frozen = true
		f.thawLocked()
		return errors.New("another process thawed the filesystem")
	})
	if err != nil {
		return fmt.Errorf("cannot prove that the filesystem stayed frozen: %w", err)
	}
	return nil
}

// within freezes the filesystem and judges what the kernel says, under the lock. The kernel's call
// has no deadline: when ctx ends first, within returns, and what the call froze is thawed as soon
// as it returns.
func (f *frozenFilesystem) within(ctx context.Context, judge func(error) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return context.Canceled
	}
	// Before the kernel is asked: whoever thaws after a process that was killed goes by it.
	if err := mark(f.marker); err != nil {
		return err
	}
	call, done := make(chan struct{}), make(chan error, 1)
	f.call = call
	go func() {
		err := f.fs.Freeze()
		f.mu.Lock()
		defer f.mu.Unlock()
		defer close(call)
		f.call = nil
		err = judge(err)
		if f.ended {
			f.thawLocked()
		}
		f.unmarkLocked()
		done <- err
	}()
	f.mu.Unlock()
	defer f.mu.Lock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
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

// thaw thaws the filesystem for good.
func (f *frozenFilesystem) thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.thawLocked()
	f.unmarkLocked()
}

// thawLocked thaws what this process has frozen, and nothing else: a freeze has no owner.
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

// unmarkLocked keeps whoever comes after this process from thawing the freeze of another one.
func (f *frozenFilesystem) unmarkLocked() {
	if !f.frozen && f.call == nil {
		// What fails here is left to ExecStopPost.
		_ = unmark(f.marker)
	}
}

// took is how long it was frozen.
func (f *frozenFilesystem) took() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lasted
}

// close waits for a call that ctx left behind, and closes the filesystem.
func (f *frozenFilesystem) close() {
	f.thaw()
	f.mu.Lock()
	call := f.call
	f.mu.Unlock()
	if call != nil {
		<-call
	}
	f.fs.Close()
}
