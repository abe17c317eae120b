package chassis

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// maxFences is how many jobs are remembered; the one not heard of for longest is forgotten first.
const maxFences = 10_000

// Fences remembers the highest epoch of each job, across restarts, and refuses lower ones.
type Fences struct {
	path string
	now  func() time.Time

	mu   sync.Mutex
	jobs map[string]seenEpoch
}

type seenEpoch struct {
	Epoch int64     `json:"epoch"`
	Since time.Time `json:"since"`
}

// OpenFences reads the file, which need not be there yet; its folder must be. A file that cannot be
// read is an error: going on without it would let a worker in that has lost its job.
func OpenFences(path string) (*Fences, error) {
	f := &Fences{path: path, now: time.Now, jobs: map[string]seenEpoch{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &f.jobs)
	}
	if err != nil {
		return nil, errs.New(errs.DataLoss, errorsv1.Reason_REASON_INTERNAL,
			"cannot read the epochs of jobs", errs.Wrap(err),
			errs.WithHint(fmt.Sprintf("remove %s once no job is running for this host", path)))
	}
	if f.jobs == nil {
		f.jobs = map[string]seenEpoch{}
	}
	return f, nil
}

// Admit is nil when no higher epoch of the job was ever admitted, which it remembers on disk before
// it answers. A lower epoch is ABORTED with STALE_EPOCH; a full disk is FAILED_PRECONDITION, one
// that cannot be written UNAVAILABLE.
func (f *Fences) Admit(job string, epoch int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.jobs[job]
	switch {
	case epoch == seen.Epoch:
		return nil
	case epoch < seen.Epoch:
		return errs.New(errs.Aborted, errorsv1.Reason_REASON_STALE_EPOCH,
			fmt.Sprintf("epoch %d of %s is over: the job is owned under epoch %d", epoch, job,
				seen.Epoch),
			errs.Meta("job", job), errs.Meta("epoch", fmt.Sprint(seen.Epoch)),
			errs.WithHint("leave the job to its owner"))
	}
	return f.remember(job, seen, seenEpoch{Epoch: epoch, Since: f.now().UTC()})
}

func (f *Fences) remember(job string, before, now seenEpoch) error {
	f.jobs[job] = now
	f.forgetOldest()
	err := f.save()
	if err == nil {
		return nil
	}
	f.jobs[job] = before
	if before.Epoch == 0 {
		delete(f.jobs, job)
	}
	if errs.NoRoom(err) {
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_DISK_FULL,
			"cannot remember the epoch of "+job,
			errs.Wrap(err), errs.WithHint("make room on the filesystem of "+filepath.Dir(f.path)))
	}
	return errs.New(errs.Unavailable, errorsv1.Reason_REASON_STORE_UNAVAILABLE,
		"cannot remember the epoch of "+job,
		errs.Wrap(err), errs.WithHint("make the filesystem of "+filepath.Dir(f.path)+" writable"),
		errs.Retry(time.Second))
}

func (f *Fences) forgetOldest() {
	if len(f.jobs) <= maxFences {
		return
	}
	oldest := ""
	for job, seen := range f.jobs {
		if oldest == "" || seen.Since.Before(f.jobs[oldest].Since) {
			oldest = job
		}
	}
	delete(f.jobs, oldest)
}

// save replaces the file in one step: a crash leaves the old or the new one.
func (f *Fences) save() error {
	data, err := json.Marshal(f.jobs)
	if err != nil {
		return err
	}
	return atomicfile.Write(f.path, data, 0o600)
}
