package show_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/size"
)

func TestParseBytes(t *testing.T) {
	t.Parallel()
	good := map[string]int64{
		"10GiB": 10 << 30, "1.5GiB": 3 << 29, "512 MiB": 512 << 20, "2G": 2 << 30, "3M": 3 << 20,
		"4K": 4 << 10, "1T": 1 << 40,
		"1GB": 1e9, "1kB": 1000, "1KB": 1000, "7B": 7, "1TB": 1e12,
	}
	for text, want := range good {
		if got, err := show.ParseBytes(text); err != nil || got != want {
			t.Errorf("%q: %d %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10", "GiB", "-1GiB", "0GiB", "0.1B", "1e3GiB", "0x10GiB",
		"NaNGiB", "InfGiB", "1_0GiB", "99999999TiB", "10gib", "1GiBx", "１GiB"} {
		if got, err := show.ParseBytes(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestSizesReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 1<<50).Draw(t, "bytes")
		back, err := show.ParseBytes(size.Text(n))
		if err != nil {
			t.Fatal(err)
		}
		if off := float64(back-n) / float64(n); off > 0.06 || off < -0.06 {
			t.Fatalf("%d came back as %d", n, back)
		}
	})
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", time.Microsecond: "<1ms", 3 * time.Millisecond: "3ms",
		2400 * time.Millisecond: "2.4s", 9960 * time.Millisecond: "10s",
		42 * time.Second: "42s", 59900 * time.Millisecond: "1m", 192 * time.Second: "3m12s",
		time.Hour: "1h", 5*time.Hour + 4*time.Minute: "5h4m",
		24 * time.Hour: "1d", 52 * time.Hour: "2d4h",
	} {
		if got := show.Duration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"10s": 10 * time.Second,
		"1h30m": 90 * time.Minute, "7d": 168 * time.Hour, "0s": 0,
		"500ms": 500 * time.Millisecond} {
		if got, err := show.ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10", "soon", "-5s", "-1d", "1.5d", "d", "99999999d"} {
		if got, err := show.ParseDuration(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for want, then := range map[string]time.Time{
		"-": {}, "now": now, "2s ago": now.Add(-2500 * time.Millisecond),
		"5m ago":   now.Add(-5*time.Minute - 59*time.Second),
		"1h4m ago": now.Add(-64 * time.Minute), "1d12h ago": now.Add(-36 * time.Hour),
	} {
		if got := show.Age(now, then); got != want {
			t.Errorf("%v: %q, want %q", then, got, want)
		}
	}
	if got := show.Age(now, now.Add(time.Hour)); got != "now" {
		t.Errorf("a clock that is ahead: %q", got)
	}
}

func TestCleanDisarmsTerminals(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := show.Clean(rapid.String().Draw(t, "text"))
		if strings.ContainsFunc(text,
			func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
			t.Fatalf("%q", text)
		}
	})
	if got := show.Clean("a\x1b[31mred\nb\tc"); got != `a\x1b[31mred b c` {
		t.Errorf("%q", got)
	}
}

// What others chose as a name reads as what it is, also where a terminal turns or hides characters.
func TestHiddenCharactersAreShown(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"alice\u202egpj.exe":  `alice\u202egpj.exe`, // right to left from here on
		"\u2066db1\u2069":     `\u2066db1\u2069`,
		"db\u200b1\u00ad":     `db\u200b1\u00ad`,
		"a\u2028b\u0085c\x7f": `a\u2028b\u0085c\x7f`,
		"x\u3164\u115f\ufe0f": `x\u3164\u115f\ufe0f`,
		"tag\U000e0041":       `tag\U000e0041`,
		"a\u00a0b\u3000c":     "a b c",
		"not\xffUTF-8":        "not\ufffdUTF-8",
		"Änn 😀 שלום":          "Änn 😀 שלום",
	} {
		if got := show.Clean(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}
