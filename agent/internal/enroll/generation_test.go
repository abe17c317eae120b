package enroll_test

import (
	"testing"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// A server that joins again signs in to its primary as before; another one of the host does not.
func TestJoiningAgainKeepsTheGenerationOfTheServer(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	first := h.generation(h.joined("t1"))
	if again := h.generation(h.joined("t2")); first == "" || again != first {
		t.Errorf("generation %q, was %q", again, first)
	}
}

// generation is that of MariaDB's certificate.
func (h *host) generation(e *enroll.Enroller) string {
	h.t.Helper()
	cert, err := identity.ReadCertificate(e.MariaDBFiles().Cert)
	if err != nil {
		h.t.Fatal(err)
	}
	return identity.MariaDBOf(cert).Generation
}
