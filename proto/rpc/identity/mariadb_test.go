package identity_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/identity"
)

func TestNamesInOneLine(t *testing.T) {
	t.Parallel()
	if got, err := identity.OneLine(identity.MariaDBSubject("db-2")); err != nil ||
		got != "/OU=mariadb/CN=db-2" {
		t.Errorf("%q, %v", got, err)
	}
	for _, odd := range []pkix.Name{{CommonName: "a/CN=b"}, {CommonName: "ü"}, {CommonName: "a\n"},
		{SerialNumber: "7"}} {
		if got, err := identity.OneLine(odd); err == nil {
			t.Errorf("%v is %q", odd, got)
		}
	}
}

func TestWhoseMariaDBSignsIn(t *testing.T) {
	t.Parallel()
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for name, test := range map[string]struct {
		cert x509.Certificate
		want string
	}{
		"MariaDB's": {x509.Certificate{Subject: identity.MariaDBSubject("db2"),
			ExtKeyUsage: both}, "db2"},
		"for a server alone": {x509.Certificate{Subject: identity.MariaDBSubject("db2"),
			ExtKeyUsage: both[:1]}, ""},
		"an agent's": {x509.Certificate{Subject: pkix.Name{CommonName: "db2"},
			ExtKeyUsage: both}, ""},
		"an operator's, for some servers": {x509.Certificate{Subject: pkix.Name{CommonName: "db2",
			OrganizationalUnit: []string{identity.ScopedUnit}}, ExtKeyUsage: both}, ""},
	} {
		if got := identity.MariaDBServer(&test.cert); got != test.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
