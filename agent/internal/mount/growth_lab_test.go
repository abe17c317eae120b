//go:build lab

package mount_test

import (
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
// agent recorded that it was growing this filesystem, in this boot.
func TestAGrowthThatWasCutOff(t *testing.T) {
	boot := strings.TrimSpace(lab.Run(t, "cat", "/proc/sys/kernel/random/boot_id"))
	for name, record := range map[string]string{
		"the agent ended":    fmt.Sprintf(`{"uuid":%q,"boot":%q}`, uuidA, boot),
		"the host crashed":   fmt.Sprintf(`{"uuid":%q,"boot":%q}`, uuidA, uuidA),
		"another filesystem": fmt.Sprintf(`{"uuid":%q,"boot":%q}`, uuidB, boot),
		"nobody was growing": "",
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			v := halfGrown(t)
			path := "/var/lib/understudy-agent/ext4-growth/" + v.ID + ".json"
			t.Cleanup(func() { os.Remove(path) })
			if record != "" {
				lab.Write(t, path, record)
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
