//go:build lab

package app_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// shutdown is FS_IOC_SHUTDOWN: the filesystem ends, as after a disk's error.
const shutdown = 0x8004587d

// newDisk is a small filesystem of its own.
func newDisk(t *testing.T) string {
	t.Helper()
	image, dir := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	for _, args := range [][]string{{"truncate", "-s", "32M", image}, {"mkfs.ext4", "-q", image},
		{"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args[0], err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill uses all of a filesystem, and gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	file, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
	if err = errors.Join(err, file.Sync()); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(file.Close(), os.Remove(file.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadinessSeesTheDisk(t *testing.T) {
	p := startPlane(t, newDisk(t), stillWorld(t))
	probe := func(name string) error { return p.Readiness(t.Context())[name] }
	if err := errors.Join(probe("store"), probe("state-dir")); err != nil {
		t.Fatal(err)
	}
	free := fill(t, p.Dir)
	if err := probe("state-dir"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
	free()
	if err := errors.Join(probe("store"), probe("state-dir")); err != nil {
		t.Errorf("after it was full: %v", err)
	}
	root, err := os.Open(p.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := unix.IoctlSetPointerInt(int(root.Fd()), shutdown, 1); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"store", "state-dir"} {
		if err := probe(name); err == nil {
			t.Errorf("a disk that ended: %s is fine", name)
		}
	}
}

// On a full disk a change is refused, and the state can be read.
func TestNoChangeOnAFullDisk(t *testing.T) {
	p := startPlane(t, newDisk(t), stillWorld(t))
	create := func(name string) error {
		_, err := p.servers().CreateServer(t.Context(), &cpv1.CreateServerRequest{Name: name})
		return err
	}
	if err := create("servers/db1"); err != nil {
		t.Fatal(err)
	}
	free := fill(t, p.Dir)
	refused(t, create("servers/db2"), errs.Unavailable, errorsv1.Reason_REASON_AUDIT_UNAVAILABLE)
	jobs, err := p.jobs().ListJobs(t.Context(), &cpv1.ListJobsRequest{})
	if err != nil || len(jobs.GetJobs()) != 1 {
		t.Errorf("on a full disk %v, %v", jobs.GetJobs(), err)
	}
	free()
	if err := create("servers/db2"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	found, err := p.audit().VerifyAudit(t.Context(), &cpv1.VerifyAuditRequest{})
	if err != nil || len(found.GetProblems()) > 0 {
		t.Errorf("verified %v, %v", found, err)
	}
}
