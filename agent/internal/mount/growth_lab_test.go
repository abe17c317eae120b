//go:build lab

package mount_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// TestAGrowthThatWasCutOff plants what resize2fs leaves that was killed before its last write, that
// of the superblock: e2fsck corrects it only when it may choose, which nobody allowed unless the
// agent recorded that it was growing this filesystem, in this boot, on this disk.
func TestAGrowthThatWasCutOff(t *testing.T) {
	boot := strings.TrimSpace(lab.Run(t, "cat", "/proc/sys/kernel/random/boot_id"))
	type recorded struct{ uuid, boot, disk string }
	for name, record := range map[string]recorded{
		"the agent ended":    {uuidA, boot, ""},
		"the host crashed":   {uuidA, uuidA, ""},
		"the disk was away":  {uuidA, boot, "1"},
		"another filesystem": {uuidB, boot, ""},
		"nobody was growing": {},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			v := halfGrown(t)
			path := "/var/lib/understudy-agent/ext4-growth/" + v.ID + ".json"
			t.Cleanup(func() { os.Remove(path) })
			disk := cmp.Or(record.disk, strings.TrimSpace(lab.Run(t, "cat",
				"/sys/block/"+filepath.Base(v.Device)+"/diskseq")))
			if record.uuid != "" {
				lab.Write(t, path, fmt.Sprintf(`{"uuid":%q,"boot":%q,"disk":%q}`, record.uuid,
					record.boot, disk))
			}
			if name == "the agent ended" {
				h.ensure(t, v, request(v))
				if left, _ := filepath.Glob(filepath.Dir(path) + "/*"); len(left) > 0 {
					t.Errorf("records are left: %v", left)
				}
				return
			}
			_, err := h.mounts.Ensure(t.Context(), request(v), nil)
			want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_FILESYSTEM_BROKEN)
		})
	}
}

// TestALookAtTheNonceWritesNothing counts the mounts for writing: after one that was later than the
// check, by the seconds of its clock, resize2fs refuses to grow the filesystem.
func TestALookAtTheNonceWritesNothing(t *testing.T) {
	h := newHost(t)
	v := formatted(t, "vol-n", "ext4")
	mounts := func() string {
		out := lab.Run(t, "tune2fs", "-l", v.Device)
		_, rest, _ := strings.Cut(out, "\nLast mount time:")
		_, count, _ := strings.Cut(out, "\nMount count:")
		time, _, _ := strings.Cut(rest, "\n")
		count, _, _ = strings.Cut(count, "\n")
		return time + count
	}
	lab.Run(t, "e2fsck", "-f", "-p", v.Device)
	before := mounts()
	r := request(v)
	r.Nonce = nonceA[1:] + "0"
	_, err := h.mounts.Ensure(t.Context(), r, nil)
	want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_NONCE_MISMATCH)
	if after := mounts(); after != before {
		t.Errorf("mounted at %s, before at %s", after, before)
	}
}

// halfGrown is a volume whose filesystem has its new groups, and the superblock from before.
func halfGrown(t *testing.T) *lab.Volume {
	t.Helper()
	v := lab.NewVolume(t, "vol-g", 320)
	lab.Run(t, "mkfs.ext4", "-q", "-U", uuidA, v.Device, "128M")
	fill(t, v.Device)
	lab.Run(t, "e2fsck", "-f", "-p", v.Device)
	before := span{offset: 1024, content: make([]byte, 1024)}
	before.read(t, v)
	lab.Run(t, "resize2fs", v.Device)
	before.restore(t, v)
	return v
}
