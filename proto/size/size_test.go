package size_test

import (
	"testing"

	"github.com/understudy-db/understudy/proto/size"
)

func TestTextAndExact(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[int64][2]string{
		0:                   {"0B", "0 bytes"},
		1000:                {"1000B", "1000 bytes"},
		1024:                {"1KiB", "1KiB"},
		1025:                {"1KiB", "1025 bytes"},
		1536:                {"1.5KiB", "1536 bytes"},
		3 << 29:             {"1.5GiB", "1536MiB"},
		1 << 40:             {"1TiB", "1TiB"},
		1<<40 + 1:           {"1TiB", "1099511627777 bytes"},
		5000 << 40:          {"5000TiB", "5000TiB"},
		1234567890:          {"1.1GiB", "1234567890 bytes"},
		1<<30 - 1:           {"1024MiB", "1073741823 bytes"},
		9223372036854775807: {"8388608TiB", "9223372036854775807 bytes"},
	} {
		if got := [2]string{size.Text(bytes), size.Exact(bytes)}; got != want {
			t.Errorf("%d: %q, want %q", bytes, got, want)
		}
	}
}
