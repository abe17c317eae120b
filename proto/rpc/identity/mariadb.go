package identity

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"
)

// mariadbUnit is the organizational unit in certificates of MariaDB. No other certificate of the
// fleet has it: an account of MariaDB that requires such a subject lets in no agent and no operator
// of the same name.
const mariadbUnit = "mariadb"

// MariaDBSubject is the subject of the certificate of a server's MariaDB.
func MariaDBSubject(server string) pkix.Name {
	return pkix.Name{OrganizationalUnit: []string{mariadbUnit}, CommonName: server}
}

// MariaDBServer is the server whose MariaDB signs in to another one with the certificate; empty for
// a certificate that is for something else, as those of MariaDB of earlier versions are.
func MariaDBServer(cert *x509.Certificate) string {
	if !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) ||
		!slices.Equal(cert.Subject.OrganizationalUnit, []string{mariadbUnit}) {
		return ""
	}
	return cert.Subject.CommonName
}

// shortNames are those of the parts of a name, as OpenSSL spells them.
var shortNames = map[string]string{"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
	"2.5.4.10": "O", "2.5.4.11": "OU"}

// OneLine is a name in the form that MariaDB compares: OpenSSL's, "/OU=mariadb/CN=db2". It is an
// error for what would read ambiguously there, or be spelt otherwise.
func OneLine(name pkix.Name) (string, error) {
	var b strings.Builder
	for _, sequence := range name.ToRDNSequence() {
		for _, part := range sequence {
			short := shortNames[part.Type.String()]
			value, ok := part.Value.(string)
			if short == "" || !ok || strings.ContainsFunc(value, odd) {
				return "", fmt.Errorf("cannot write the name %s in one line", name)
			}
			fmt.Fprintf(&b, "/%s=%s", short, value)
		}
	}
	return b.String(), nil
}

func odd(r rune) bool { return r < ' ' || r > '~' || r == '/' }
