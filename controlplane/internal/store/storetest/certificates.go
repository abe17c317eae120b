package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

func testCertificates(t *testing.T, open Open) {
	st := open(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	good := inventory.Certificate{Serial: "1", Identity: "spiffe://u/agent/a",
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	old, other := good, good
	old.Serial, old.NotBefore, old.NotAfter = "2", now.Add(-3*time.Hour), now.Add(-2*time.Hour)
	other.Serial, other.Identity = "3", "spiffe://u/agent/b"
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		for _, c := range []inventory.Certificate{good, old, other} {
			if err := tx.Certificates().Insert(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		serials, err := tx.Certificates().Revoke(ctx, good.Identity, "left")
		if !slices.Equal(serials, []string{"1"}) {
			t.Errorf("revoked %v, want the good one of the identity alone", serials)
		}
		return err
	})
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		sequence, revoked, err := tx.Certificates().Revoked(ctx)
		cert, err2 := tx.Certificates().Get(ctx, "1")
		all, err3 := tx.Certificates().Of(ctx, good.Identity)
		if sequence != 1 || len(revoked) != 1 || revoked[0].Serial != "1" || cert.Good(now) ||
			cert.Reason != "left" || len(all) != 2 || all[0].Serial != "1" ||
			all[1].RevokedAt.IsZero() {
			t.Errorf("revoked = %v, certificate = %+v, of the identity = %+v", revoked, cert, all)
		}
		return errors.Join(err, err2, err3)
	})
}

func testNewestCertificates(t *testing.T, open Open) {
	st := open(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		for i, of := range []string{"u/viewer/b", "u/viewer/a", "u/viewer/b", "u/viewer2/c",
			"x/u/viewer/d", "U/viewer/e"} {
			err := tx.Certificates().Insert(ctx, inventory.Certificate{Serial: strconv.Itoa(i),
				Identity: of, KeyPrint: "key-" + of, NotAfter: now.Add(time.Hour),
				NotBefore: now.Add(time.Duration(i) * time.Minute)})
			if err != nil {
				return err
			}
		}
		_, err := tx.Certificates().Revoke(ctx, "u/viewer/a", "left")
		return err
	})
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		newest, err := tx.Certificates().Newest(ctx, "u/viewer/")
		if len(newest) != 2 || newest[0].Serial != "1" || newest[0].Reason != "left" ||
			newest[1].Serial != "2" {
			t.Errorf("newest = %+v", newest)
		}
		revoked, err2 := tx.Certificates().KeyRevoked(ctx, "key-u/viewer/a")
		good, err3 := tx.Certificates().KeyRevoked(ctx, "key-u/viewer/b")
		if !revoked || good {
			t.Errorf("revoked keys: %v, %v", revoked, good)
		}
		return errors.Join(err, err2, err3)
	})
}

// testRevocationAmongRenewals revokes while several renew as fast as they can, each from its newest
// certificate: none is good afterwards.
func testRevocationAmongRenewals(t *testing.T, open Open) {
	stores := []*store.Store{open(t), open(t)}
	now := time.Now().UTC().Truncate(time.Millisecond)
	const who = "u/operator/mallory"
	issue := func(ctx context.Context, tx *store.Tx, serial string) error {
		return tx.Certificates().Insert(ctx, inventory.Certificate{Serial: serial, Identity: who,
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)})
	}
	var renewals sync.WaitGroup
	running, over := make(chan struct{}, 100), make(chan struct{})
	for i := range 4 {
		serial := fmt.Sprintf("%d-0", i)
		write(t, stores[0], func(ctx context.Context, tx *store.Tx) error {
			return issue(ctx, tx, serial)
		})
		renewals.Go(func() {
			for n := 1; ; n++ {
				next := fmt.Sprintf("%d-%d", i, n)
				err := stores[i%2].Write(context.Background(),
					func(ctx context.Context, tx *store.Tx) error {
						if err := tx.Certificates().Lock(ctx); err != nil {
							return err
						}
						old, err := tx.Certificates().Get(ctx, serial)
						if err == nil && !old.RevokedAt.IsZero() {
							return errRevoked
						}
						return errors.Join(err, issue(ctx, tx, next))
					})
				if err != nil {
					if !errors.Is(err, errRevoked) {
						t.Error(err)
					}
					return
				}
				serial = next
				select {
				case <-over: // it outlived the revocation
					return
				case running <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 20 {
		<-running
	}
	write(t, stores[1], func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Certificates().Revoke(ctx, who, "stolen")
		return err
	})
	close(over)
	renewals.Wait()
	read(t, stores[0], func(ctx context.Context, tx *store.Tx) error {
		all, err := tx.Certificates().Of(ctx, who)
		for _, cert := range all {
			if cert.RevokedAt.IsZero() {
				t.Errorf("%s of %d outlived the revocation", cert.Serial, len(all))
			}
		}
		return err
	})
}

var errRevoked = errors.New("revoked")
