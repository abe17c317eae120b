//go:build lab

package agent_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// grants has these operators alone make changing calls, as the control plane tells.
func (a *installed) grants(t *testing.T, sequence int64, operators ...identity.Source) {
	t.Helper()
	list := &agentv1.SetGrantsRequest{Sequence: sequence}
	for i, operator := range operators {
		credentials, err := operator.Credentials()
		if err != nil {
			t.Fatal(err)
		}
		leaf := credentials.Certificate.Leaf
		who, err := identity.FromCertificate(leaf)
		if err != nil {
			t.Fatal(err)
		}
		list.Grants = append(list.Grants, &agentv1.Grant{Id: fmt.Sprintf("grant-%012x", i),
			Operator: who.String(), KeyPrint: identity.KeyPrint(leaf), Reason: "a test",
			Left: durationpb.New(time.Hour), ExpireTime: timestamppb.New(leaf.NotAfter)})
	}
	answer, err := agentv1.NewHostServiceClient(a.conn).SetGrants(t.Context(), list)
	if err != nil || len(answer.GetInForce()) != len(operators) {
		t.Fatal(answer, err)
	}
}

func needsGrant(err error) bool {
	return errors.Is(err, errs.PermissionDenied) &&
		errs.ReasonOf(err) == errorsv1.Reason_REASON_GRANT_REQUIRED
}

// A filesystem is not frozen any longer than the grant of who froze it lasts, and a restart ends
// all grants.
func TestChangesNeedAGrant(t *testing.T) {
	a := install(t)
	a.data(t)
	source := a.ca.Source(identity.Operator("ann"))
	ann := agentv1.NewMountServiceClient(a.dial(t, source))
	freeze := func() (agentv1.MountService_FreezeFilesystemClient, error) {
		stream, err := ann.FreezeFilesystem(t.Context(),
			&agentv1.FreezeFilesystemRequest{Path: "/srv/mariadb"})
		if err == nil {
			_, err = stream.Recv()
		}
		return stream, err
	}
	if _, err := freeze(); !needsGrant(err) {
		t.Fatalf("without a grant: %v", err)
	}
	a.grants(t, 1, source)
	stream, err := freeze()
	if err != nil {
		t.Fatal(err)
	}
	if writes(200 * time.Millisecond) {
		t.Fatal("it is not frozen")
	}
	revoked := time.Now()
	a.grants(t, 2)
	for err == nil {
		_, err = stream.Recv()
	}
	if took := time.Since(revoked); !needsGrant(err) || took > 5*time.Second {
		t.Errorf("the stream ended after %s with %v", took, err)
	}
	if !writes(5 * time.Second) {
		t.Error("it is still frozen")
	}
	a.grants(t, 3, source)
	if _, err := freeze(); err != nil {
		t.Errorf("with another grant: %v", err)
	}
	lab.Run(t, "systemctl", "restart", unitName)
	if _, err := freeze(); !needsGrant(err) {
		t.Errorf("after a restart: %v", err)
	}
	if _, err := ann.ListMounts(t.Context(), &agentv1.ListMountsRequest{}); err != nil {
		t.Errorf("a read: %v", err)
	}
}
