//go:build lab

package mariadb_test

import (
	"path/filepath"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// A fleet moves from a root that signs to an intermediate of another root, one MariaDB after the
// other. The account, which demands the name of the issuer, stays, and the replica signs in at each
// moment; also where the old root, which has the name of the intermediate, is believed beside it.
func TestAReplicaSignsInBelowAnIntermediate(t *testing.T) {
	eachPair(t, func(t *testing.T, primaryRoot, replicaRoot string) {
		ctx := t.Context()
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: primaryRoot})
		old, next := mariadbtest.SameCA(primary), mariadbtest.NewIntermediate(t)
		replica, point := mariadbtest.CopyOf(t, primary,
			mariadbtest.Options{Root: replicaRoot, CA: old})
		replica.Run()
		account := mariadb.Account{User: "us_2", Host: "127.0.0.1",
			MariaDB: identity.MariaDB{Server: mariadbtest.Server}}
		replica.Join(primary, point, password)
		to := replica.PrimaryIs(primary, "")
		to.Certificate = true
		if _, err := primary.Server.EnsureAccount(ctx, account); err != nil {
			t.Fatal(err)
		}
		if _, _, err := replica.Replica.Configure(ctx, to); err != nil {
			t.Fatal(err)
		}
		connects := func(what string) {
			t.Helper()
			if _, _, err := replica.Replica.Stop(ctx, true, mariadbtest.Patience); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if now, _, err := replica.Replica.Start(ctx, mariadbtest.Patience); err != nil ||
				!now.TLSVerify || now.CertFile == "" {
				t.Fatalf("%s: %+v %v", what, now, err)
			}
			primary.Exec("INSERT INTO shop.t (a) VALUES (1)")
			follows(t, what, primary, replica)
			changes, err := primary.Server.EnsureAccount(ctx, account)
			if err != nil || len(changes) > 0 {
				t.Fatalf("%s: the account was changed: %q %v", what, changes, err)
			}
		}
		renews := func(who *mariadbtest.Instance, by *mariadbtest.CA) {
			t.Helper()
			by.Issue(t, filepath.Join(who.Dir, "cert"))
			if err := who.Configuration.RefreshCertificate(ctx, true); err != nil {
				t.Fatal(err)
			}
		}
		connects("both of the old root")
		renews(primary, old.Believing(next))
		renews(replica, old.Believing(next))
		connects("the other root is believed")
		renews(replica, next.Believing(old))
		connects("the replica is of the intermediate")
		renews(primary, next.Believing(old))
		connects("both are")
		for _, i := range []*mariadbtest.Instance{primary, replica} {
			if out, err := i.Client("SELECT 1"); err != nil {
				t.Errorf("root does not get in on the host: %v %s", err, out)
			}
		}
		renews(replica, next)
		renews(primary, next)
		connects("the old root went")
	})
}
