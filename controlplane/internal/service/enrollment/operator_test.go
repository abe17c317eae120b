package enrollment_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func TestOperatorsAreListedByPages(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	admin, ctx := p.client(p.operator), t.Context()
	create := func(name string, role controlplanev1.OperatorRole) {
		_, csr := newKey(t)
		_, err := admin.CreateOperator(ctx, &controlplanev1.CreateOperatorRequest{
			Name: "operators/" + name, Role: role, Csr: csr})
		must(t, err)
	}
	create("bob", controlplanev1.OperatorRole_OPERATOR_ROLE_VIEWER)
	_, err := admin.Revoke(ctx, &controlplanev1.RevokeRequest{Name: "operators/bob",
		Reason: "moved"})
	must(t, err)
	create("bob", controlplanev1.OperatorRole_OPERATOR_ROLE_UNSPECIFIED)
	create("bob.b", controlplanev1.OperatorRole_OPERATOR_ROLE_ADMIN)
	var got []string
	req := &controlplanev1.ListOperatorsRequest{PageSize: 3}
	for {
		page, err := admin.ListOperators(ctx, req)
		must(t, err)
		for _, o := range page.GetOperators() {
			age := time.Since(o.GetIssueTime().AsTime())
			if age < -time.Minute || age > time.Hour || o.GetSerial() == "" ||
				o.GetExpireTime().AsTime().Before(time.Now()) ||
				(o.GetRevokeTime() == nil) != (o.GetRevokeReason() == "") {
				t.Errorf("%v", o)
			}
			got = append(got, strings.Join([]string{o.GetName(), o.GetRole().String(),
				o.GetState().String(), o.GetRevokeReason()}, " "))
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	want := []string{"operators/ann OPERATOR_ROLE_ADMIN STATE_VALID ",
		"operators/bob OPERATOR_ROLE_OPERATOR STATE_VALID ",
		"operators/bob OPERATOR_ROLE_VIEWER STATE_REVOKED moved",
		"operators/bob.b OPERATOR_ROLE_ADMIN STATE_VALID "}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTokensAreListedByPages(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	admin, ctx := p.client(p.operator), t.Context()
	for _, server := range []string{"db-1", "db-2", "db-3"} {
		_, err := admin.CreateJoinToken(ctx,
			&controlplanev1.CreateJoinTokenRequest{Server: "servers/" + server})
		must(t, err)
	}
	_, err := p.registry.JoinFile(ctx, "db-4")
	must(t, err)
	list := func() map[string]string {
		got := map[string]string{}
		before := time.Now().Add(time.Hour)
		req := &controlplanev1.ListJoinTokensRequest{PageSize: 3}
		for {
			page, err := admin.ListJoinTokens(ctx, req)
			must(t, err)
			for _, token := range page.GetJoinTokens() {
				made := token.GetCreateTime().AsTime()
				if made.After(before) || token.GetExpireTime().AsTime().Before(made) {
					t.Errorf("%v", token)
				}
				before = made
				got[token.GetServer()] = token.GetState().String() + " " + token.GetCreator()
			}
			if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
				return got
			}
		}
	}
	const ann, self = "spiffe://understudy/admin/ann", "spiffe://understudy/controlplane"
	if got := list(); len(got) != 4 || got["servers/db-1"] != "STATE_VALID "+ann ||
		got["servers/db-4"] != "STATE_VALID "+self {
		t.Errorf("%v", got)
	}
}
