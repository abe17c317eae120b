//go:build lab

package attacks

import (
	"crypto/tls"
	"encoding/json"
	"testing"

	"github.com/understudy-db/understudy/deploy/stack"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Somebody who holds one key of the fleet, an agent's or an operator's, and floods with it: others
// are served.

// key is an operator's. An agent's has the same room.
func key(t *testing.T, s *stack.Stack) *tls.Certificate {
	t.Helper()
	out, err := s.CLI(t.Context(), "operator", "create", "mallory", "--out", "-").Output()
	var made struct {
		Certificate string `json:"certificate_pem"`
		Key         string `json:"key_pem"`
	}
	if err == nil {
		err = json.Unmarshal(out, &made)
	}
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair([]byte(made.Certificate), []byte(made.Key))
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

func TestCallersKeyHalfOpenStreams(t *testing.T) {
	s := plane(t)
	certificate := key(t, s)
	grows(t, s, func() {
		flood(s, certificate, 200_000, func(a *attacker) error {
			_, err := a.open(cpv1.JobService_WatchJob_FullMethodName, 0)
			return err
		})
	})
}

func TestCallersKeyRequestsThatDoNotEnd(t *testing.T) {
	s := plane(t)
	certificate := key(t, s)
	grows(t, s, func() { flood(s, certificate, 2_000, largeRequest) })
}
