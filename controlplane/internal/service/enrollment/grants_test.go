package enrollment_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestTheLifeOfAGrant(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	admin, ctx := p.client(p.operator), t.Context()
	ask := func(server string) *controlplanev1.CreateAgentGrantRequest {
		return &controlplanev1.CreateAgentGrantRequest{Server: "servers/" + server,
			Duration: durationpb.New(time.Hour), Reason: "a test"}
	}
	planned := ask("db-1")
	planned.ValidateOnly = true
	dry, err := admin.CreateAgentGrant(ctx, planned)
	must(t, err)
	if dry.GetGrant().GetId() != "" || dry.GetDelivered() {
		t.Errorf("validated: %v", dry)
	}
	var ids []string
	for i, server := range []string{"db-1", "db-2", "db-1"} {
		p.away = map[bool]string{true: "it is away"}[i == 2]
		made, err := admin.CreateAgentGrant(ctx, ask(server))
		must(t, err)
		g := made.GetGrant()
		if made.GetDelivered() != (i != 2) || made.GetUndeliveredReason() != p.away ||
			g.GetOperator() != "spiffe://understudy/admin/ann" || g.GetReason() != "a test" ||
			g.GetState() != controlplanev1.AgentGrant_STATE_ACTIVE ||
			g.GetExpireTime().AsTime().Sub(g.GetCreateTime().AsTime()) != time.Hour {
			t.Errorf("made %v", made)
		}
		ids = append(ids, g.GetId())
	}
	list := func(server string) (got []string) {
		req := &controlplanev1.ListAgentGrantsRequest{PageSize: 1, Server: server}
		for {
			page, err := admin.ListAgentGrants(ctx, req)
			must(t, err)
			for _, g := range page.GetGrants() {
				got = append(got, g.GetId())
			}
			if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
				slices.Sort(got)
				return got
			}
		}
	}
	of := func(some ...string) []string { return slices.Sorted(slices.Values(some)) }
	if got, want := list(""), of(ids...); !slices.Equal(got, want) {
		t.Errorf("all: %v, want %v", got, want)
	}
	if got, want := list("servers/db-1"), of(ids[0], ids[2]); !slices.Equal(got, want) {
		t.Errorf("of db-1: %v, want %v", got, want)
	}
	p.away = ""
	for range 2 {
		ended, err := admin.RevokeAgentGrant(ctx,
			&controlplanev1.RevokeAgentGrantRequest{Id: ids[0]})
		must(t, err)
		if !ended.GetDelivered() || ended.GetGrant().GetRevokeTime() == nil ||
			ended.GetGrant().GetState() != controlplanev1.AgentGrant_STATE_REVOKED {
			t.Errorf("revoked %v", ended)
		}
	}
	if _, err := admin.RevokeAgentGrant(ctx, &controlplanev1.RevokeAgentGrantRequest{
		Id: "grant-0123456789ab"}); errs.ReasonOf(err) != errorsv1.Reason_REASON_NOT_FOUND {
		t.Errorf("one that is not there: %v", err)
	}
}
