//go:build lab

package agent_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// Somebody goes on with an operator's key after its revocation, and calls an agent directly.
func TestARevokedOperatorIsRefused(t *testing.T) {
	a := install(t)
	stolen := a.ca.Source(identity.Operator("mallory"))
	credentials, err := stolen.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	leaf := credentials.Certificate.Leaf
	mallory := a.dial(t, stolen)
	look := func(by agentv1.HostServiceClient) error {
		_, err := by.GetHost(t.Context(), &agentv1.GetHostRequest{})
		return err
	}
	if err := look(agentv1.NewHostServiceClient(mallory)); err != nil {
		t.Fatal(err)
	}
	watch, err := agentv1.NewSystemdServiceClient(mallory).WatchUnits(t.Context(),
		&agentv1.WatchUnitsRequest{Units: []string{"mariadb.service"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := watch.Recv(); err != nil {
				ended <- err
				return
			}
		}
	}()
	list := &agentv1.SetDenyListRequest{Sequence: 5, Certificates: []*agentv1.DeniedCertificate{
		{Serial: identity.Serial(leaf), ExpireTime: timestamppb.New(leaf.NotAfter)}}}
	for _, who := range []identity.Identity{identity.Operator("mallory"), identity.Admin("ada"),
		identity.Agent("db-2")} {
		if _, err := agentv1.NewHostServiceClient(a.dial(t, a.ca.Source(who))).SetDenyList(
			t.Context(), list); !errors.Is(err, errs.PermissionDenied) {
			t.Errorf("%s says who was revoked: %v", who, err)
		}
	}
	plane := agentv1.NewHostServiceClient(a.dial(t, a.ca.Source(identity.ControlPlane())))
	told := time.Now()
	if _, err := plane.SetDenyList(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	if err := look(agentv1.NewHostServiceClient(mallory)); err == nil {
		t.Error("a call over an open connection is served")
	}
	if err := <-ended; t.Context().Err() != nil {
		t.Fatal(err)
	}
	t.Logf("the stream ended after %s", time.Since(told).Round(time.Millisecond))
	refused := func(when string) {
		t.Helper()
		if err := look(agentv1.NewHostServiceClient(a.dial(t, stolen))); err == nil {
			t.Errorf("%s: a new connection is served", when)
		}
		if err := look(agentv1.NewHostServiceClient(a.dial(t,
			a.ca.Source(identity.Operator("ann"))))); err != nil {
			t.Errorf("%s: another operator is refused: %v", when, err)
		}
	}
	refused("at once")
	lab.Run(t, "systemctl", "restart", unitName) // there is no control plane to ask
	refused("after a restart")
}
