package show_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/size"
)

// FuzzParseBytes reads sizes as people write them: what is taken is positive, and reads the same as
// it is shown.
func FuzzParseBytes(f *testing.F) {
	for _, seed := range []string{"10GiB", "1.5 TB", "512K", "0B", "-1GiB", "1e3GiB", "0x1GiB",
		"NaNB", "InfB", "99999999TiB", "10", ".5K", "1 0 GiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := show.ParseBytes(text)
		if err != nil {
			return
		}
		if n < 1 {
			t.Errorf("%q is %d", text, n)
		}
		if again, err := show.ParseBytes(size.Text(n)); err != nil || again < n/2 || again > n*2 {
			t.Errorf("%q is %d, shown as %s, read as %d: %v", text, n, size.Text(n), again, err)
		}
	})
}

// FuzzParseDuration reads times as people write them: never negative.
func FuzzParseDuration(f *testing.F) {
	for _, seed := range []string{"10s", "7d", "1h30m", "-1s", "65535d", "99999999d", "d", "1.5d",
		"+1d", "9223372036s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := show.ParseDuration(text); err == nil && d < 0 {
			t.Errorf("%q is %s", text, d)
		}
	})
}

// FuzzClean holds that nothing that comes over the wire steers the terminal.
func FuzzClean(f *testing.F) {
	for _, seed := range []string{"a\x1b[31mb", "a\nb", "\u202e", "\x9b1m", "\r", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range show.Clean(text) {
			if unicode.IsControl(r) && !strings.ContainsRune("\n\t", r) {
				t.Errorf("%q keeps %q", text, r)
			}
		}
	})
}
