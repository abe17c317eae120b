//go:build lab

package attacks

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2"
)

// TestNoKeyTinyFrames sends large requests byte for byte: gRPC keeps a buffer for each frame until
// the message is whole.
func TestNoKeyTinyFrames(t *testing.T) {
	s := plane(t)
	var many bytes.Buffer
	framer := http2.NewFramer(&many, nil)
	grows(t, s, func() {
		flood(s, nil, 20, func(a *attacker) error {
			stream, err := a.open(enroll, 0)
			if err == nil {
				err = a.framer.WriteData(stream, false, []byte{0, 0, 7, 0xff, 0xff})
			}
			many.Reset()
			for range 1_000 {
				_ = framer.WriteData(stream, false, []byte{'x'})
			}
			for range 520 {
				if err == nil {
					_, err = a.conn.Write(many.Bytes())
				}
			}
			return err
		})
	})
}
