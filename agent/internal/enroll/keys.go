package enroll

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

const blockKey = "PRIVATE KEY"

// ensureKey makes a key that its owner alone can read, unless there is one. In the place of what is
// none any more, as a bad disk leaves it, another one is made: it has no certificate yet.
func ensureKey(path string) error {
	_, err := readKey(path)
	if damaged := (*damagedKey)(nil); !errors.Is(err, fs.ErrNotExist) && !errors.As(err, &damaged) {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, pem.EncodeToMemory(&pem.Block{Type: blockKey, Bytes: der}), 0o600)
}

// damagedKey is a file that has no key.
type damagedKey struct{ path string }

func (d *damagedKey) Error() string { return d.path + " has no usable private key" }

func readKey(path string) (any, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != blockKey {
		return nil, &damagedKey{path}
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, &damagedKey{path}
	}
	return key, nil
}

// signingRequest asks for a certificate for the key. It has no name in it: the control
// plane knows the server.
func signingRequest(path string) ([]byte, error) {
	key, err := readKey(path)
	if err != nil {
		return nil, err
	}
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
}

// requests are the signing requests of both keys in the slot.
func (s slot) requests() (agent, mariadb []byte, err error) {
	if agent, err = signingRequest(s.files().Key); err != nil {
		return nil, nil, err
	}
	mariadb, err = signingRequest(s.mariadbFiles().Key)
	return agent, mariadb, err
}
