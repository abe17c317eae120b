package enrollment_test

import (
	"context"
	"slices"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/service/enrollment"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// noting notes of each request whether its agent takes a chain.
type noting struct {
	enrollment.Registry
	takes []bool
}

func (n *noting) Enroll(_ context.Context, req ca.EnrollRequest) (ca.Bundle, error) {
	n.takes = append(n.takes, req.TakesChain)
	return ca.Bundle{}, nil
}

func (n *noting) Renew(_ context.Context, req ca.RenewRequest) (ca.Bundle, error) {
	n.takes = append(n.takes, req.TakesChain)
	return ca.Bundle{}, nil
}

func (n *noting) RenewExpired(_ context.Context, req ca.ExpiredRequest) (ca.Renewed, error) {
	n.takes = append(n.takes, req.TakesChain)
	return ca.Renewed{}, nil
}

func TestWhatAnAgentTakesIsPassedOn(t *testing.T) {
	t.Parallel()
	p, n := newPlane(t), &noting{}
	service, err := enrollment.New(enrollment.Config{Registry: n, Agents: p, Servers: p,
		Operators: p.operators, Tokens: p.tokens, Grants: p.grants,
		Granting: ca.NewGranting(p.registry),
		Deliver:  func(context.Context, inventory.AgentGrant) string { return "" }})
	must(t, err)
	var want []bool
	for _, takes := range []bool{true, false} {
		_, err := service.Enroll(t.Context(), &controlplanev1.EnrollRequest{TakesChain: takes})
		must(t, err)
		_, err = service.Renew(t.Context(), &controlplanev1.RenewRequest{TakesChain: takes})
		must(t, err)
		_, err = service.RenewExpired(t.Context(),
			&controlplanev1.RenewExpiredRequest{TakesChain: takes})
		must(t, err)
		want = append(want, takes, takes, takes)
	}
	if !slices.Equal(n.takes, want) {
		t.Errorf("passed on %v, want %v", n.takes, want)
	}
}
