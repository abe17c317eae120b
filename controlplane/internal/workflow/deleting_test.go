package workflow_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// TestServerWhoseDeletionStoppedIsGuarded cleans up the job that made a server, after a deletion of
// it was asked for and stopped.
func TestServerWhoseDeletionStoppedIsGuarded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first := lab(t)
		j := first.Must(replica{Server: "db2", Source: "db1", Cleanup: true})
		first.Stop()
		p := w.Start()
		refuseIn(p, "start_mariadb")
		p.Run()
		redo(t, p, j.ID, "db2", "mount_data")
		p.End(j.ID)
		vol := volumeOf(t, w, "db2")
		become(t, w, "db2", inventory.ServerDeleting)
		if _, err := p.Engine.Retry(t.Context(), j.ID, asTester); err != nil {
			t.Fatal(err)
		}
		p.End(j.ID)
		if !atProvider(w, vol) {
			t.Fatalf("volume %s is gone at the provider", vol.ProviderID)
		}
		checkGuarded(t, w, p, j.ID, "db2", func(req job.ChangeRequest) (job.Job, error) {
			return p.Engine.Cleanup(t.Context(), j.ID, req)
		})
		p.End(j.ID)
	})
}

// A machine that enrolled under a name before that was made a replica is not the replica's: an
// operator who works with the name, and not with the primary, may have let it in.
func TestWhatEnrolledBeforeAReplicaWasMadeIsRevoked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		now := time.Now()
		certified := map[string]string{"01": identity.Agent("db2").String(),
			"02": inventory.MariaDBIdentity("db2"), "03": identity.Agent("db1").String()}
		for serial, of := range certified {
			err := w.Store.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
				return tx.Certificates().Insert(ctx, inventory.Certificate{Serial: serial,
					Identity: of, NotBefore: now, NotAfter: now.Add(24 * time.Hour)})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		p.Must(replica{Server: "db2", Source: "db1"})
		err := w.Store.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			for serial, of := range certified {
				cert, err := tx.Certificates().Get(ctx, serial)
				if err != nil || cert.RevokedAt.IsZero() != (serial == "03") {
					t.Errorf("%s is revoked %s, %v", of, cert.RevokedAt, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// What a deleted server's machine had, or a copy of it still has, opens nothing.
func TestCertificatesOfADeletedServerAreRevoked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := withReplica(t)
		now := time.Now()
		for serial, of := range map[string]string{"01": identity.Agent("db2").String(),
			"02": inventory.MariaDBIdentity("db2"), "03": identity.Agent("db1").String()} {
			err := w.Store.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
				return tx.Certificates().Insert(ctx, inventory.Certificate{Serial: serial,
					Identity: of, NotBefore: now, NotAfter: now.Add(24 * time.Hour)})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		p.Must(deletion{Server: "db2"})
		var revoked []string
		err := w.Store.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			_, all, err := tx.Certificates().Revoked(ctx)
			for _, cert := range all {
				revoked = append(revoked, cert.Serial)
			}
			return err
		})
		if err != nil || !slices.Equal(revoked, []string{"01", "02"}) {
			t.Errorf("revoked %v: %v", revoked, err)
		}
	})
}
