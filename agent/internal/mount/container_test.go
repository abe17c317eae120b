package mount

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

func TestAContainerIsNamed(t *testing.T) {
	t.Parallel()
	for kind, word := range map[string]string{"LVM2_member": "LVM", "crypto_LUKS": "LUKS",
		"linux_raid_member": "RAID"} {
		d := Device{Path: "/dev/vdb", Signature: Signature{Filesystem: kind, UUID: "u"}}
		_, err := decideDevice(d, Request{})
		if err == nil || !strings.Contains(err.Error(), word) ||
			!strings.Contains(errs.HintOf(err).String(), "ext4 or xfs") {
			t.Errorf("%s: %v", kind, err)
		}
		part := d
		part.Path, part.Parent = "/dev/vdb1", "/dev/vdb"
		_, err = partition([]Device{part}, Device{Path: "/dev/vdb"})
		if err == nil || !strings.Contains(err.Error(), "/dev/vdb1 "+kind) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
