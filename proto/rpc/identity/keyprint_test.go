package identity_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
)

// Both ends make the print, one of a certificate and one of a key.
func TestTheKeyPrintIsOfTheKeyAlone(t *testing.T) {
	t.Parallel()
	ca := identitytest.New(t)
	cert := ca.Issue(identity.Operator("ann"))
	key := &cert.PrivateKey.(*ecdsa.PrivateKey).PublicKey
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	want := hex.EncodeToString(sum[:])
	if got := identity.KeyPrint(cert.Leaf); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := identity.KeyPrint(ca.Certify(key, identity.Admin("bob"))); got != want {
		t.Errorf("of another certificate for the key: %s, want %s", got, want)
	}
	if got := identity.KeyPrint(ca.Issue(identity.Operator("ann")).Leaf); got == want {
		t.Error("of another key it is the same")
	}
}
