//go:build lab

package mount

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// made is a file of that many MiB with a filesystem on it, as its own tool makes it.
func made(t *testing.T, mib int64, mkfs ...string) Device {
	t.Helper()
	path := filepath.Join(t.TempDir(), "volume")
	file, err := os.Create(path)
	if err == nil {
		err = file.Truncate(mib << 20)
	}
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	if out, err := exec.Command(mkfs[0], append(mkfs[1:], path)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", mkfs, err, out)
	}
	return Device{Path: path, SizeBytes: mib << 20, Signature: Signature{
		Filesystem: strings.TrimPrefix(filepath.Base(mkfs[0]), "mkfs.")}}
}

func TestAVolumeSmallerThanItsFilesystemIsRefused(t *testing.T) {
	t.Parallel()
	for _, mkfs := range [][]string{{"/sbin/mkfs.ext4", "-q"},
		{"/sbin/mkfs.ext4", "-q", "-b", "1024", "-O", "^64bit"}, {"/sbin/mkfs.xfs", "-q"}} {
		d := made(t, 400, mkfs...)
		if err := checkFits(d); err != nil {
			t.Errorf("%v: %v", mkfs, err)
		}
		d.SizeBytes = 399 << 20
		err := checkFits(d)
		if err == nil || !strings.Contains(err.Error(), "399 MiB of 400 MiB") ||
			!strings.Contains(errs.HintOf(err).String(), "400 MiB") {
			t.Errorf("%v: %v; hint: %s", mkfs, err, errs.HintOf(err).String())
		}
	}
}

// TestAnUnknownFeatureIsNamed has e2fsck itself look at a filesystem of tomorrow.
func TestAnUnknownFeatureIsNamed(t *testing.T) {
	t.Parallel()
	d := made(t, 64, "/sbin/mkfs.ext4", "-q")
	if out, err := exec.Command("/sbin/debugfs", "-w", "-R",
		"set_super_value feature_incompat 0x402c2", d.Path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run, err := hostexec.New(hostexec.Config{})
	if err != nil {
		t.Fatal(err)
	}
	f := &filesystems{host: &host{exec: run}}
	_, err = f.checkExt4(t.Context(), d)
	if err == nil || !strings.Contains(err.Error(), "features that e2fsck of this host does not "+
		"know: FEATURE_I18") || !strings.Contains(errs.HintOf(err).String(), "e2fsprogs") {
		t.Errorf("%v; hint: %s", err, errs.HintOf(err).String())
	}
}
