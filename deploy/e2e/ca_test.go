//go:build lab

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// TestLongTheRootIsReplacedUnderLoad replaces what signs for the fleet, three times: the root by
// another one, that by an intermediate of a root whose key is elsewhere, and that by another
// intermediate. A primary is written to meanwhile, replicas follow it, and each time another one is
// made. No call, no job and no write fails, replication goes on, and what connects afterwards shows
// and believes certificates of the new root alone.
func TestLongTheRootIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	l := newLab(t, "root")
	l.run("server", "create", "db1")
	writer := l.writer("db1")
	l.run("replica", "create", "db2", "--of", "db1")
	account := l.sql("db1", "SHOW CREATE USER us_db2@'"+l.server("db2").GetAddress()+"'")
	calls := callAgain(t, l)
	root := newOfflineRoot(l)
	for n, introduce := range []func(){l.rotates, root.signs, root.signs} {
		replica := fmt.Sprint("db", n+3)
		before := l.signedBy("db1")
		made := make(chan string, 1)
		go func() {
			out, err := l.try("replica", "create", replica, "--of", "db1", "--verify", "full")
			if err == nil {
				out = ""
			}
			made <- out
		}()
		introduce()
		l.rotates()
		l.rotates()
		t.Log(l.run("ca", "status"))
		if out := <-made; out != "" {
			t.Fatalf("a replica that is made meanwhile: %s", out)
		}
		if l.signedBy("db1") == before {
			t.Errorf("replacement %d: MariaDB has a certificate of the issuer of before", n+1)
		}
	}
	if err := calls(); err != nil {
		t.Errorf("a call failed: %v", err)
	}
	if _, err := writer.Stop(); err != nil {
		t.Errorf("a write failed: %v", err)
	}
	for _, replica := range []string{"db2", "db3", "db4", "db5"} {
		l.sql(replica, "STOP REPLICA IO_THREAD; START REPLICA IO_THREAD")
		l.same("db1", replica)
		if s := l.server(replica); s.GetState() != cpv1.Server_STATE_READY {
			t.Errorf("%s is %s", replica, s.GetState())
		}
	}
	if now := l.sql("db1", "SHOW CREATE USER us_db2@'"+l.server("db2").GetAddress()+
		"'"); now != account {
		t.Errorf("the account was changed: %s\n%s", account, now)
	}
}

// rotates takes the next step once nobody lags.
func (l *lab) rotates() {
	l.t.Helper()
	awaitTrue(l.t, 4*time.Minute, "nobody lags", func() bool {
		// The audit refuses who asks for a step all the time.
		status := l.run("ca", "status")
		if strings.Contains(status, "lagging") && !strings.Contains(status, "lagging  0") {
			return false
		}
		out, err := l.try("ca", "rotate")
		if err != nil && !strings.Contains(out, "not all have a certificate of this phase") {
			l.t.Fatalf("%v\n%s", err, out)
		}
		return err == nil
	})
}

// signedBy is the id of the key that signed the certificate of a host's MariaDB.
func (l *lab) signedBy(host string) string {
	l.t.Helper()
	block, _ := pem.Decode([]byte(l.exec(host, "cat", "/etc/mysql/understudy/cert.pem")))
	if block == nil {
		l.t.Fatalf("%s has no certificate of MariaDB", host)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		l.t.Fatal(err)
	}
	return hex.EncodeToString(cert.AuthorityKeyId)
}

// offlineRoot is a root whose key the control plane never has.
type offlineRoot struct {
	*lab
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

func newOfflineRoot(l *lab) *offlineRoot {
	l.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		l.t.Fatal(err)
	}
	root := &offlineRoot{lab: l, key: key}
	root.cert = root.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "Offline root"},
		NotAfter: time.Now().AddDate(20, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}, nil, key.Public())
	return root
}

// issue signs, as of three hours ago: an intermediate signs when hosts whose clock is behind know
// it as valid.
func (r *offlineRoot) issue(template, parent *x509.Certificate, key any) *x509.Certificate {
	r.t.Helper()
	r.serial++
	template.SerialNumber, template.NotBefore = big.NewInt(r.serial), time.Now().Add(-3*time.Hour)
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, r.key)
	if err != nil {
		r.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		r.t.Fatal(err)
	}
	return cert
}

// signs has the control plane introduce another intermediate of this root.
func (r *offlineRoot) signs() {
	r.t.Helper()
	block, _ := pem.Decode([]byte(r.run("ca", "intermediate", "request")))
	if block == nil {
		r.t.Fatal("there is no request")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		r.t.Fatal(err)
	}
	intermediate := r.issue(&x509.Certificate{RawSubject: request.RawSubject,
		NotAfter: time.Now().AddDate(3, 0, 0), ExtraExtensions: request.Extensions},
		r.cert, request.PublicKey)
	var chain []byte
	for _, cert := range []*x509.Certificate{intermediate, r.cert} {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE",
			Bytes: cert.Raw})...)
	}
	file := filepath.Join(r.t.TempDir(), "chain.pem")
	if err := os.WriteFile(file, chain, 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.t.Log(r.run("ca", "intermediate", "install", file))
}

// callAgain calls the control plane over a new connection again and again until it is stopped, and
// then answers with the first call that failed.
func callAgain(t *testing.T, l *lab) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	var failed error
	done.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for failed == nil {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			conn, err := l.Dial()
			if err != nil {
				failed = err
				return
			}
			_, err = cpv1.NewServerServiceClient(conn).ListServers(ctx, &cpv1.ListServersRequest{})
			conn.Close()
			if ctx.Err() == nil {
				failed = err
			}
		}
	})
	return func() error {
		cancel()
		done.Wait()
		return failed
	}
}
