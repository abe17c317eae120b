//go:build lab

package attacks

import (
	"crypto/tls"
	"net"
	"testing"

	"golang.org/x/net/http2"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const enroll = cpv1.EnrollmentService_Enroll_FullMethodName

// Somebody on the network who has no key at all.

func TestNoKeyHalfOpenStreams(t *testing.T) {
	s := plane(t)
	grows(t, s, func() {
		flood(s, nil, 200_000, func(a *attacker) error {
			_, err := a.open(enroll, 0)
			return err
		})
	})
}

func TestNoKeyMetadata(t *testing.T) {
	s := plane(t)
	grows(t, s, func() {
		flood(s, nil, 60, func(a *attacker) error {
			_, err := a.open(enroll, 14<<20)
			return err
		})
	})
}

func TestNoKeyRapidResets(t *testing.T) {
	s := plane(t)
	grows(t, s, func() {
		flood(s, nil, 100_000, func(a *attacker) error {
			stream, err := a.open(enroll, 0)
			if err != nil {
				return err
			}
			return a.framer.WriteRSTStream(stream, http2.ErrCodeCancel)
		})
	})
}

func TestNoKeyRequestsThatDoNotEnd(t *testing.T) {
	s := plane(t)
	grows(t, s, func() { flood(s, nil, 2_000, largeRequest) })
}

// largeRequest begins a request of 4 MiB, and sends most of what a stream may carry.
func largeRequest(a *attacker) error {
	stream, err := a.open(enroll, 0)
	if err != nil {
		return err
	}
	if err := a.framer.WriteData(stream, false, []byte{0, 0, 0x3f, 0xff, 0xff}); err != nil {
		return err
	}
	for range 4 {
		if err := a.framer.WriteData(stream, false, make([]byte, 15<<10)); err != nil {
			return err
		}
	}
	return nil
}

func TestNoKeyConnections(t *testing.T) {
	s := plane(t)
	grows(t, s, func() {
		var open []net.Conn
		for i := range 3_000 {
			conn, err := dial(s)
			if err != nil {
				continue
			}
			open = append(open, conn)
			if i%2 == 0 {
				_ = tls.Client(conn, &tls.Config{InsecureSkipVerify: true,
					NextProtos: []string{"h2"}}).Handshake()
			}
		}
		for _, conn := range open {
			_ = conn.Close()
		}
	})
}
