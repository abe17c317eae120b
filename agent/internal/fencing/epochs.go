// Package fencing refuses requests of workers that have lost their job. A request carries the job
// and the epoch under which its sender owns it: its fencing token.
package fencing

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// maxJobs is the number of jobs that are remembered. The least recently seen job is forgotten
// first.
const maxJobs = 10_000

// freshFor is how long a job that goes on is not written again.
const freshFor = time.Hour

// Epochs remembers the highest epoch of each job across restarts.
type Epochs struct {
	path string
	now  func() time.Time

	mu   sync.Mutex
	jobs map[string]seenEpoch
}

type seenEpoch struct {
	Epoch int64     `json:"epoch"`
	Since time.Time `json:"since"`
}

// Open reads the file, which may be absent; its directory must exist. An unreadable file is an
// error: without it, a worker that has lost its job would be admitted.
func Open(path string) (*Epochs, error) {
	e := &Epochs{path: path, now: time.Now, jobs: map[string]seenEpoch{}}
	if err := atomicfile.Tidy(path); err != nil {
		return nil, fmt.Errorf("cannot remove what a killed agent left beside %s: %w", path, err)
	}
	if _, err := atomicfile.ReadJSON(path, &e.jobs); err != nil {
		return nil, errs.New(errs.DataLoss, errorsv1.Reason_REASON_INTERNAL,
			"cannot read the epochs of jobs", errs.Wrap(err),
			errs.WithHint(fmt.Sprintf("remove %s once no job is running for this host", path)))
	}
	if e.jobs == nil {
		e.jobs = map[string]seenEpoch{}
	}
	return e, nil
}

// Check admits a request of the newest control plane with a valid token, or with none, and adds job
// and step to its log line.
func (e *Epochs) Check(ctx context.Context, request proto.Message) error {
	if err := e.Newest(ctx); err != nil {
		return err
	}
	found, err := tokenOf(request)
	if err != nil || found.empty() {
		return err
	}
	if who := identity.PeerOf(ctx).Identity; who.Role != identity.RoleControlPlane {
		return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
			fmt.Sprintf("%s cannot act for %s: jobs are the control plane's", who, found.job),
			errs.WithHint("call without a fencing token"))
	}
	chassis.Annotate(ctx, slog.String("job", found.job), slog.String("step", found.effectKey))
	return e.Admit(found.job, found.epoch)
}

// Admit answers nil unless a higher epoch of the job was admitted before. A new epoch is on disk
// before Admit returns. A lower epoch is ABORTED with STALE_EPOCH, a full disk FAILED_PRECONDITION,
// an unwritable one UNAVAILABLE.
func (e *Epochs) Admit(job string, epoch int64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	seen := e.jobs[job]
	now := seenEpoch{Epoch: epoch, Since: e.now().UTC()}
	switch {
	case epoch == seen.Epoch && now.Since.Sub(seen.Since) < freshFor:
		return nil
	case epoch == seen.Epoch:
		// a job that goes on is not among the oldest; that it is not on disk yet costs nothing
		if err := e.remember(job, now); err != nil {
			e.jobs[job] = now
		}
		return nil
	case epoch < seen.Epoch:
		return errs.New(errs.Aborted, errorsv1.Reason_REASON_STALE_EPOCH,
			fmt.Sprintf("epoch %d of %s is over: the job is owned under epoch %d", epoch, job,
				seen.Epoch),
			errs.Meta("job", job), errs.Meta("epoch", fmt.Sprint(seen.Epoch)),
			errs.WithHint("leave the job to its owner"))
	}
	return e.remember(job, now)
}

// remember changes nothing unless it is on disk.
func (e *Epochs) remember(job string, now seenEpoch) error {
	before := e.jobs
	e.jobs = maps.Clone(before)
	e.jobs[job] = now
	e.forgetOldest()
	err := atomicfile.WriteJSON(e.path, e.jobs)
	if err == nil {
		return nil
	}
	e.jobs = before
	if errs.NoRoom(err) {
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_DISK_FULL,
			"cannot remember the epoch of "+job, errs.Wrap(err),
			errs.WithHint("free space on the filesystem of "+filepath.Dir(e.path)))
	}
	return errs.New(errs.Unavailable, errorsv1.Reason_REASON_STORE_UNAVAILABLE,
		"cannot remember the epoch of "+job, errs.Wrap(err),
		errs.WithHint("make the filesystem of "+filepath.Dir(e.path)+" writable"),
		errs.Retry(time.Second))
}

func (e *Epochs) forgetOldest() {
	if len(e.jobs) <= maxJobs {
		return
	}
	oldest := ""
	for job, seen := range e.jobs {
		if oldest == "" || seen.Since.Before(e.jobs[oldest].Since) {
			oldest = job
		}
	}
	delete(e.jobs, oldest)
}
