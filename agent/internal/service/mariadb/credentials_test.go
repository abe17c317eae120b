package mariadb

import (
	"errors"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// A replica signs in by one way alone, and never without TLS.
func TestOneWayToSignIn(t *testing.T) {
	t.Parallel()
	s, ctx := service(t), t.Context()
	for field, r := range map[string]*agentv1.EnsureReplicationAccountRequest{
		"password": {User: "us_7", Host: "%", Password: "p", Server: "servers/db7"},
		"server":   {User: "us_7", Host: "%", Server: "db7"},
	} {
		refused(t, field, "both", checked(s.EnsureReplicationAccount)(ctx, r))
	}
	for field, r := range map[string]*agentv1.ConfigureReplicaRequest{
		"password": {Tls: true, Certificate: true, Password: "p"},
		"tls":      {Certificate: true},
	} {
		r.PrimaryHost, r.User = "10.0.0.1", "us_7"
		refused(t, field, "both", checked(s.ConfigureReplica)(ctx, r))
	}
	for _, err := range []error{
		checked(s.EnsureReplicationAccount)(ctx, &agentv1.EnsureReplicationAccountRequest{
			User: "us_7", Host: "10.0.0.2", Server: "servers/db7"}),
		checked(s.ConfigureReplica)(ctx, &agentv1.ConfigureReplicaRequest{Tls: true,
			Certificate: true, PrimaryHost: "10.0.0.1", User: "us_7"}),
		checked(s.ReconnectReplica)(ctx, &agentv1.ReconnectReplicaRequest{}),
	} {
		if !errors.Is(err, errs.Unavailable) {
			t.Errorf("MariaDB is down: %v", err)
		}
	}
}
