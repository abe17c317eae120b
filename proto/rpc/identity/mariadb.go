package identity

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
)

// mariadbUnit is the organizational unit in certificates of MariaDB; behind a dash it has their
// generation. No other certificate of the fleet has it: an account of MariaDB that requires such a
// subject lets in no agent and no operator of the same name.
const mariadbUnit = "mariadb"

// MariaDB is who signs in to another MariaDB with a certificate.
type MariaDB struct {
	// Server is whose MariaDB it is.
	Server string
	// Generation is that of its certificates: a renewal keeps it, a rotation and a new server of
	// the name get another one, which the account demands then. Empty in certificates of earlier
	// versions.
	Generation string
}

// NewGeneration is one that no certificate has yet.
func NewGeneration() string { return fmt.Sprintf("%016x", rand.Uint64()) }

var generationPattern = regexp.MustCompile(`^[0-9a-f]{16}$`)

// CheckGeneration says whether a certificate can have that generation.
func CheckGeneration(generation string) error {
	if generation != "" && !generationPattern.MatchString(generation) {
		return fmt.Errorf("generation %.20q: must be 16 of 0-9 and a-f", generation)
	}
	return nil
}

// Subject is that of the certificate.
func (m MariaDB) Subject() pkix.Name {
	unit := mariadbUnit
	if m.Generation != "" {
		unit += "-" + m.Generation
	}
	return pkix.Name{OrganizationalUnit: []string{unit}, CommonName: m.Server}
}

// MariaDBOf is who signs in to another MariaDB with the certificate; the zero MariaDB for a
// certificate that is for something else, as those of MariaDB of earlier versions are.
func MariaDBOf(cert *x509.Certificate) MariaDB {
	if !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) ||
		len(cert.Subject.OrganizationalUnit) != 1 {
		return MariaDB{}
	}
	unit, generation, _ := strings.Cut(cert.Subject.OrganizationalUnit[0], "-")
	m := MariaDB{Server: cert.Subject.CommonName, Generation: generation}
	if unit != mariadbUnit || CheckGeneration(generation) != nil ||
		!slices.Equal(m.Subject().OrganizationalUnit, cert.Subject.OrganizationalUnit) {
		return MariaDB{}
	}
	return m
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
