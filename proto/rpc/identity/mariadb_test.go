package identity_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/identity"
)

func TestNamesInOneLine(t *testing.T) {
	t.Parallel()
	for want, who := range map[string]identity.MariaDB{
		"/OU=mariadb/CN=db-2":                  {Server: "db-2"},
		"/OU=mariadb-0123456789abcdef/CN=db-2": {Server: "db-2", Generation: "0123456789abcdef"},
	} {
		if got, err := identity.OneLine(who.Subject()); err != nil || got != want {
			t.Errorf("%q, %v", got, err)
		}
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
	db2 := identity.MariaDB{Server: "db2"}
	later := identity.MariaDB{Server: "db2", Generation: identity.NewGeneration()}
	of := func(units ...string) x509.Certificate {
		return x509.Certificate{ExtKeyUsage: both,
			Subject: pkix.Name{CommonName: "db2", OrganizationalUnit: units}}
	}
	issued := func(who identity.MariaDB, usage ...x509.ExtKeyUsage) x509.Certificate {
		return x509.Certificate{Subject: who.Subject(), ExtKeyUsage: usage}
	}
	for name, test := range map[string]struct {
		cert x509.Certificate
		want identity.MariaDB
	}{
		"MariaDB's":                       {issued(db2, both...), db2},
		"of a generation":                 {issued(later, both...), later},
		"for a server alone":              {cert: issued(db2, both[0])},
		"an agent's":                      {cert: of()},
		"of no generation":                {cert: of("mariadb-")},
		"of an odd generation":            {cert: of("mariadb-0123456789ABCDEF")},
		"of two units":                    {cert: of("mariadb", "scoped")},
		"an operator's, for some servers": {cert: of(identity.ScopedUnit)},
	} {
		if got := identity.MariaDBOf(&test.cert); got != test.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
