package app_test

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// A revoked machine must not go on reading its primary: that its access is to end is on record with
// the revocation, and stays there while the primary is out of reach.
func TestARevocationIsForMariaDBToo(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.addServer("db1", "")
	p.addServer("db2", "db1")
	p.write(func(ctx context.Context, tx *store.Tx) error {
		return tx.Certificates().Insert(ctx, inventory.Certificate{Serial: "02",
			Identity: identity.Agent("db2").String(), NotAfter: time.Now().Add(time.Hour)})
	})
	if _, err := cpv1.NewEnrollmentServiceClient(p.conn).Revoke(t.Context(),
		&cpv1.RevokeRequest{Name: "servers/db2", Reason: "stolen"}); err != nil {
		t.Fatal(err)
	}
	p.write(func(ctx context.Context, tx *store.Tx) error {
		srv, err := tx.Servers().Get(ctx, "db2")
		if err == nil && srv.AccessRevoked.IsZero() {
			t.Error("its account on db1 stays")
		}
		return err
	})
}
