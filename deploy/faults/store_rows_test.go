//go:build lab

package faults

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/deploy/stack"
)

func storeRows() []row {
	return []row{
		{
			id: "C8", variant: "disk full", run: (*lab).storeFull,
			planted: "the filesystem of the control plane's state directory fills up in the " +
				"middle of a replica's job",
			happens: "new work is refused, saying that the disk is full; what is known can be " +
				"read; once there is space the job goes on by itself and none is lost",
			why: "what could not be committed did not happen, and the step looks again",
		},
		{
			id: "C8", variant: "disk full while frozen", run: (*lab).storeFullFrozen,
			planted: "the same, while commits are blocked and the filesystem of a primary is " +
				"frozen",
			happens: "the primary resumes within the limit; once there is space the job " +
				"quiesces again, and there is one snapshot",
			why: "a worker that cannot prove that it has the job gives it up",
		},
		{
			id: "C8", variant: "store locked", run: (*lab).storeLocked,
			planted: "another process holds the store's write lock in the middle of a " +
				"replica's job",
			happens: "new work is refused, saying that the store is busy; once the lock is gone " +
				"the job goes on by itself",
			why: "the same",
		},
		{
			id: "C8", variant: "store locked while frozen", quick: true,
			run:     (*lab).storeLockedFrozen,
			planted: "the same, while commits are blocked and the filesystem is frozen",
			happens: "the primary resumes within the limit; the job quiesces again " +
				"once the lock is gone",
			why: "the same",
		},
	}
}

// jobCount is how many jobs are on record.
func (l *lab) jobCount() string {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	return l.query(db, "SELECT COUNT(*) FROM jobs")[0][0]
}

func (l *lab) storeLocked() {
	m := making{name: l.name()}
	m.job = l.detach("replica", "create", m.name, "--of", primary, "--image", "trixie-masked")
	l.await(m.job, 4*time.Minute,
		func(j *job) bool { return stepOf(j, "mount_data").GetState() == stepRunning })
	unlock := l.lockStore()
	jobs := l.jobCount()
	l.refuse([]string{"locked", "store"}, "snapshot", "create", primary)
	l.run("job", "get", m.job)
	unlock()
	if after := l.jobCount(); after != jobs {
		l.t.Errorf("%s jobs are on record, %s were before the refusal", after, jobs)
	}
	l.succeeds(m.job)
	l.madeOnce(m)
	l.same(m.name)
}

func (l *lab) storeLockedFrozen() {
	f := l.freeze()
	unlock := l.lockStore()
	f.answer()
	l.thaws(f)
	unlock()
	l.oneCut(f.job, 2)
}

// smallDisk is what the state directory of the row with the full disk has.
const smallDisk = "size=32m"

// onSmallDisk is a lab of its own whose state directory can be filled.
func (l *lab) onSmallDisk() *lab {
	l.t.Helper()
	return l.side(stack.Config{}, func(dir string) {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, smallDisk); err != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	})
}

func (l *lab) storeFullFrozen() {
	s := l.onSmallDisk()
	f := s.freeze()
	empty := s.fill(f.job)
	f.answer()
	s.thaws(f)
	empty()
	s.oneCut(f.job, 2)
	s.rest()
	s.check()
	s.tidy()
}

func (l *lab) storeFull() {
	s := l.onSmallDisk()
	m := making{name: s.name()}
	m.job = s.detach("replica", "create", m.name, "--of", primary, "--image", "trixie-masked")
	s.await(m.job, 4*time.Minute,
		func(j *job) bool { return stepOf(j, "mount_data").GetState() == stepRunning })
	jobs := s.jobCount()
	empty := s.fill(m.job)
	s.refuse([]string{"full"}, "snapshot", "create", primary)
	s.run("job", "get", m.job)
	empty()
	s.succeeds(m.job)
	if after := s.jobCount(); after != jobs {
		s.t.Errorf("%s jobs are on record, %s were before the refusal", after, jobs)
	}
	s.madeOnce(m)
	s.same(m.name)
	s.run("snapshot", "create", primary)
	s.rest()
	s.check()
	s.tidy()
}

// fill fills the disk of the state directory until a job's heartbeat stands still, and returns what
// gives the space back. The store's log is given back to the disk first: it would have room for
// many writes.
func (l *lab) fill(job string) (empty func()) {
	l.t.Helper()
	path := filepath.Join(filepath.Dir(l.storePath()), "filler")
	file, err := os.Create(path)
	if err != nil {
		l.t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+l.storePath()+"?mode=rw&_pragma=busy_timeout(2000)")
	if err != nil {
		l.t.Fatal(err)
	}
	defer db.Close()
	still, last := time.Now(), ""
	l.eventually(2*time.Minute, "no heartbeat can be written", func() bool {
		_, _ = db.ExecContext(l.t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")
		if err := pour(file); !errors.Is(err, unix.ENOSPC) {
			l.t.Fatalf("filling the disk: %v", err)
		}
		if now := l.heartbeat(job); now != last {
			still, last = time.Now(), now
		}
		return time.Since(still) > 3*time.Second
	})
	return func() {
		file.Close()
		if err := os.Remove(path); err != nil {
			l.t.Error(err)
		}
	}
}

// pour writes until nothing more fits.
func pour(file *os.File) error {
	for size := 1 << 20; ; {
		_, err := file.Write(make([]byte, size))
		if err == nil {
			continue
		}
		if size == 1 {
			return err
		}
		size /= 2
	}
}

func (l *lab) heartbeat(job string) string {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	return l.query(db, "SELECT heartbeat FROM jobs WHERE id = ?", job[len("jobs/"):])[0][0]
}
