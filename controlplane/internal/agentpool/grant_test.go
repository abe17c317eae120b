package agentpool_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// An agent is told what is left of a grant, and of none that is over since the list was read.
func TestAnAgentIsToldWhatIsLeftOfAGrant(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	var told *agentv1.SetGrantsRequest
	f.db1(&agent{host: hostService{grant: func(_ context.Context,
		req *agentv1.SetGrantsRequest) (*agentv1.SetGrantsResponse, error) {
		told = req
		return &agentv1.SetGrantsResponse{InForce: []string{"grant-0123456789ab"}}, nil
	}}})
	now := time.Now()
	list := ca.GrantList{Sequence: 7, Grants: []inventory.AgentGrant{
		{ID: "grant-0123456789ab", Operator: "u/operator/ann", KeyPrint: strings.Repeat("ab", 32),
			Reason: "why", Created: now.Add(-time.Hour), Expires: now.Add(time.Hour)},
		{ID: "grant-00000000over", Created: now.Add(-time.Hour), Expires: now.Add(-time.Second)}}}
	inForce, err := f.pool.Grant(t.Context(), "db1", list)
	if err != nil || !slices.Equal(inForce, []string{"grant-0123456789ab"}) {
		t.Fatal(inForce, err)
	}
	if told.GetSequence() != 7 || len(told.GetGrants()) != 1 {
		t.Fatalf("told %v", told)
	}
	g := told.GetGrants()[0]
	if left := g.GetLeft().AsDuration(); left > time.Hour || left < 59*time.Minute ||
		g.GetOperator() != "u/operator/ann" || g.GetKeyPrint() != list.Grants[0].KeyPrint ||
		g.GetReason() != "why" || !g.GetExpireTime().AsTime().Equal(now.Add(time.Hour)) {
		t.Errorf("told %v", g)
	}
}

func TestAnOldAgentKnowsNoGrants(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.db1(&agent{})
	if _, err := f.pool.Grant(t.Context(), "db1", ca.GrantList{Sequence: 1}); !errors.Is(err,
		errs.Unimplemented) {
		t.Error(err)
	}
}
