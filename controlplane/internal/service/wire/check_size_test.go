package wire_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
)

func TestAVolumeThatIsTooSmallIsRefusedWithTheMinimum(t *testing.T) {
	t.Parallel()
	for size, ok := range map[int64]bool{0: true, wire.MinVolumeBytes: true, 1 << 40: true,
		1: false, -1: false, wire.MinVolumeBytes - 1: false} {
		var check wire.Check
		check.Size("volume_size_bytes", size)
		err := check.Err()
		if ok != (err == nil) || !ok && !strings.Contains(err.Error(), "at least 512 MiB") {
			t.Errorf("%d: %v", size, err)
		}
	}
}
