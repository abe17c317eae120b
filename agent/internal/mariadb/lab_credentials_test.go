//go:build lab

package mariadb_test

import (
	"crypto/x509/pkix"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// A replica moves from its password to its certificate, and to the next one, without a password
// anywhere, between all versions.
func TestAReplicaSignsInWithItsCertificate(t *testing.T) {
	eachPair(t, func(t *testing.T, primaryRoot, replicaRoot string) {
		ctx := t.Context()
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: primaryRoot})
		ca := mariadbtest.SameCA(primary)
		replica, point := mariadbtest.CopyOf(t, primary,
			mariadbtest.Options{Root: replicaRoot, CA: ca})
		replica.Run()
		replica.Join(primary, point, password)
		if _, _, err := replica.Replica.Start(ctx, mariadbtest.Patience); err != nil {
			t.Fatal(err)
		}
		status, err := primary.Status(ctx)
		if err != nil || !status.Live.TakesCertificates ||
			status.Certificate.Server != mariadbtest.Server || status.Certificate.Expires.IsZero() {
			t.Fatalf("%+v %v", status.Certificate, err)
		}
		account := mariadb.Account{User: "us_2", Host: "127.0.0.1",
			MariaDB: identity.MariaDB{Server: mariadbtest.Server}}
		primary.Exec("CREATE USER us_2@'10.0.0.7'", "CREATE USER us_22@'127.0.0.1'")
		for i, want := range []string{"demands the certificate of db2", "dropped for 10.0.0.7",
			""} {
			account.KeepOthers = i == 0
			changes, err := primary.Server.EnsureAccount(ctx, account)
			if got := strings.Join(changes, ","); err != nil || got != want {
				t.Errorf("%q, %v", got, err)
			}
		}
		grants := primary.Value("SHOW GRANTS FOR us_2@'127.0.0.1'")
		if strings.Contains(grants, "PASSWORD") || !strings.HasSuffix(grants,
			"REQUIRE ISSUER '/CN=test CA' SUBJECT '/OU=mariadb/CN=db2'") {
			t.Errorf("grants: %s", grants)
		}
		to := replica.PrimaryIs(primary, "")
		to.Certificate = true
		for _, changed := range []bool{true, false} {
			changes, _, err := replica.Replica.Configure(ctx, to)
			if err != nil || changed == (len(changes) == 0) {
				t.Errorf("configured: %q, %v", changes, err)
			}
		}
		if now, _, err := replica.Replica.Start(ctx, mariadbtest.Patience); err != nil ||
			!now.TLSVerify || now.CertFile == "" {
			t.Fatalf("%+v %v", now, err)
		}
		info, err := os.ReadFile(filepath.Join(replica.Datadir, "master.info"))
		if lines := strings.Split(string(info), "\n"); err != nil || lines[5] != "" {
			t.Errorf("master.info has a password: %q %v", lines[5], err)
		}
		rotates(t, primary, replica, ca)
		refusesOthers(t, primary, replica, ca)
		refusesAnEarlierGeneration(t, primary, replica, ca)
		sessions := func() string {
			return primary.Value("SELECT COUNT(*) FROM information_schema.processlist WHERE " +
				"user = 'us_2'")
		}
		if sessions() == "0" {
			t.Error("the replica is not connected")
		}
		if found, err := primary.Server.DeleteAccount(ctx, "us_2", "%"); err != nil || !found ||
			primary.Value("SELECT GROUP_CONCAT(User) FROM mysql.global_priv WHERE "+
				"User LIKE 'us\\_%'") != "us_22" {
			t.Errorf("deleted %v, %v", found, err)
		}
		for end := time.Now().Add(mariadbtest.Patience); sessions() != "0"; {
			if time.Now().After(end) {
				t.Fatal("the replica reads on after its account was deleted")
			}
			time.Sleep(10 * time.Millisecond)
		}
		if found, err := primary.Server.DeleteAccount(ctx, "us_2", "%"); err != nil || found {
			t.Errorf("deleted again: %v, %v", found, err)
		}
	})
}

// rotates expects the IO thread to sign in with another certificate, and the relay log to stay.
func rotates(t *testing.T, primary, replica *mariadbtest.Instance, ca *mariadbtest.CA) {
	t.Helper()
	ctx := t.Context()
	if _, _, err := replica.Replica.Stop(ctx, true, mariadbtest.Patience); err != nil {
		t.Fatal(err)
	}
	primary.Exec("INSERT INTO shop.t (a) VALUES (1)")
	ca.Issue(t, filepath.Join(replica.Dir, "cert"))
	if err := replica.Configuration.RefreshCertificate(ctx, true); err != nil {
		t.Fatal(err)
	}
	before := dumpThread(primary)
	if _, changed, err := replica.Replica.Reconnect(ctx, mariadbtest.Patience); err != nil ||
		!changed {
		t.Fatalf("reconnected %v, %v", changed, err)
	}
	if after := dumpThread(primary); after == before || after == "" {
		t.Errorf("the primary served thread %q, and now %q", before, after)
	}
	before = dumpThread(primary)
	if _, changed, err := replica.Replica.Reconnect(ctx, mariadbtest.Patience); err != nil ||
		changed || dumpThread(primary) != before {
		t.Errorf("asked again it reconnected: %v, %v", changed, err)
	}
	if _, _, err := replica.Replica.Start(ctx, mariadbtest.Patience); err != nil {
		t.Fatal(err)
	}
	follows(t, "rotated", primary, replica)
}

func dumpThread(primary *mariadbtest.Instance) string {
	return primary.Value("SELECT MAX(id) FROM information_schema.processlist WHERE " +
		"command = 'Binlog Dump' AND user = 'us_2'")
}

// reads is true while a replica says that its IO thread is connected.
func reads(t *testing.T, replica *mariadbtest.Instance) bool {
	t.Helper()
	status, err := replica.Status(t.Context())
	if err != nil || len(status.Live.Replication) != 1 {
		t.Fatalf("%+v %v", status.Live, err)
	}
	return status.Live.Replication[0].IORunning == "Yes"
}

// refusesOthers expects that certificates of the same authority for somebody else do not do, nor
// one that is for a server alone.
func refusesOthers(t *testing.T, primary, replica *mariadbtest.Instance, ca *mariadbtest.CA) {
	t.Helper()
	ctx := t.Context()
	to := replica.PrimaryIs(primary, "")
	to.Certificate = true
	ca.IssueTo(t, filepath.Join(replica.Dir, "cert"), pkix.Name{CommonName: "db2"})
	if err := replica.Configuration.RefreshCertificate(ctx, true); err != nil {
		t.Fatal(err)
	}
	_, _, err := replica.Replica.Reconnect(ctx, mariadbtest.Patience)
	wants(t, err, errorsv1.Reason_REASON_REPLICATION_ERROR)
	_, _, err = replica.Replica.Configure(ctx, to)
	wants(t, err, errorsv1.Reason_REASON_MARIADB_SETTING)
	ca.Issue(t, filepath.Join(replica.Dir, "cert"))
	if err := replica.Configuration.RefreshCertificate(ctx, true); err != nil {
		t.Fatal(err)
	}
	if _, changed, err := replica.Replica.Reconnect(ctx, mariadbtest.Patience); err != nil ||
		!changed {
		t.Errorf("its own again: %v, %v", changed, err)
	}
}

// refusesAnEarlierGeneration expects that a certificate of before a rotation opens nothing, whoever
// has it, and that a session that began with it ends.
func refusesAnEarlierGeneration(t *testing.T, primary, replica *mariadbtest.Instance,
	ca *mariadbtest.CA) {
	t.Helper()
	ctx := t.Context()
	rotated := mariadb.Account{User: "us_2", Host: "127.0.0.1", EndSessions: true,
		MariaDB: identity.MariaDB{Server: mariadbtest.Server, Generation: "0123456789abcdef"}}
	before := dumpThread(primary)
	changes, err := primary.Server.EnsureAccount(ctx, rotated)
	if got := strings.Join(changes, ","); err != nil || got != "demands the certificate of db2" {
		t.Errorf("%q, %v", got, err)
	}
	for end := time.Now().Add(mariadbtest.Patience); dumpThread(primary) == before ||
		reads(t, replica); { // which it says until it has noticed
		if time.Now().After(end) {
			t.Fatal("a session that began with the certificate of before goes on")
		}
		time.Sleep(10 * time.Millisecond)
	}
	_, _, err = replica.Replica.Reconnect(ctx, mariadbtest.Patience)
	wants(t, err, errorsv1.Reason_REASON_REPLICATION_ERROR)
	ca.IssueTo(t, filepath.Join(replica.Dir, "cert"), rotated.Subject())
	if err := replica.Configuration.RefreshCertificate(ctx, true); err != nil {
		t.Fatal(err)
	}
	if _, changed, err := replica.Replica.Reconnect(ctx, mariadbtest.Patience); err != nil ||
		!changed {
		t.Errorf("with the certificate of the rotation: %v, %v", changed, err)
	}
}
