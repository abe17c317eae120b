package hold

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

// ice is a filesystem that is frozen at most once, and never stays so.
type ice struct {
	fs *freeze.Filesystem

	mu     sync.Mutex
	ended  bool          // nothing may freeze any more
	frozen bool          // by us
	since  time.Time     // when freezing began
	lasted time.Duration // once thawed
	busy   chan struct{} // closed when a freeze that was begun is over; nil before
}

// openIce takes hold of the filesystem while that is still possible.
func openIce(mount string) (*ice, error) {
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
	return &ice{fs: fs}, nil
}

// freeze freezes the filesystem. It knows no deadline by itself; when ctx is over it is left
// behind, and thawed as soon as it is had.
func (i *ice) freeze(ctx context.Context) error {
	i.mu.Lock()
	if i.ended {
		i.mu.Unlock()
		return context.Canceled
	}
	i.since, i.busy = time.Now(), make(chan struct{})
	i.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- i.freezeNow() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (i *ice) freezeNow() error {
	defer close(i.busy)
	err := i.fs.Freeze()
	i.mu.Lock()
	defer i.mu.Unlock()
	if err == nil {
		i.frozen = true
	}
	if i.ended {
		i.thawLocked()
	}
	return wontFreeze(err)
}

// wontFreeze says what can be done about a filesystem that was not frozen.
func wontFreeze(err error) error {
	switch {
	case errors.Is(err, freeze.ErrFrozen):
		return errs.New(errs.Aborted, errorsv1.Reason_REASON_FILESYSTEM_FROZEN,
			"cannot hold the filesystem of the datadir", errs.Wrap(err),
			errs.WithHint("somebody else has frozen it: wait for the end of that, or thaw it "+
				"(fsfreeze -u)"), errs.Retry(time.Second))
	case errors.Is(err, freeze.ErrUnsupported):
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_FILESYSTEM_MISSING,
			"cannot hold the filesystem of the datadir", errs.Wrap(err),
			errs.WithHint("put the datadir on ext4 or xfs"))
	}
	return err
}

// stillFrozen proves that nobody thawed it.
func (i *ice) stillFrozen() error {
	frozen, err := i.fs.Frozen()
	if err == nil && !frozen {
		err = errors.New("the filesystem was thawed by somebody else")
	}
	return err
}

// thaw lets writes go on, now and for good.
func (i *ice) thaw() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = true
	i.thawLocked()
}

func (i *ice) thawLocked() {
	if !i.frozen {
		return
	}
	// Whoever thawed it before, it is thawed; a failure leaves it to systemd's ExecStopPost.
	if _, err := i.fs.Thaw(); err == nil {
		i.frozen = false
		i.lasted = time.Since(i.since)
	}
}

// took is how long it was frozen.
func (i *ice) took() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.lasted
}

// close waits for a freeze that was left behind and lets go of the filesystem.
func (i *ice) close() {
	i.thaw()
	if i.busy != nil {
		<-i.busy
	}
	i.fs.Close()
}
