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
