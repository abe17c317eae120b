package capped_test

import (
	"io"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/proto/capped"
)

// io.Copy is what os/exec uses.
func TestNoCopyGoesPastTheLimit(t *testing.T) {
	t.Parallel()
	for text, more := range map[string]bool{"": false, "abc": false, "abcd": false,
		"abcde": true, strings.Repeat("x", 1<<20): true} {
		full := 0
		b := &capped.Buffer{Limit: 4, Full: func() { full++ }}
		n, err := io.Copy(b, struct{ io.Reader }{strings.NewReader(text)})
		if err != nil || n != int64(len(text)) || string(b.Bytes()) != text[:min(4, len(text))] {
			t.Errorf("of %d bytes: %d, %v, kept %q", len(text), n, err, b.Bytes())
		}
		if b.Overflowed() != more || (full == 1) != more {
			t.Errorf("of %d bytes: overflowed %v, said %d times", len(text), b.Overflowed(), full)
		}
	}
}
