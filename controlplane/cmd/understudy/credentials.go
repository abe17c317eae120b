package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/atomicfile"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// credentials are what an operator takes to another computer: one file, written by "operator
// create" and read by "context add".
type credentials struct {
	Operator    string   `json:"operator"`
	Addresses   []string `json:"addresses"`
	CA          string   `json:"ca_pem"`
	Certificate string   `json:"certificate_pem"`
	Key         string   `json:"key_pem"`
}

// readCredentials reads such a file.
func readCredentials(path string) (found credentials, err error) {
	data, err := readPrivate(path)
	if err != nil {
		return found, err
	}
	if err := json.Unmarshal(data, &found); err != nil || found.Key == "" {
		return found, usageError{message: path + " holds no operator's credentials",
			hint: "use a file that `understudy operator create` wrote, or a folder with ca.pem, " +
				"cert.pem and key.pem"}
	}
	return found, nil
}

// unpack writes the credentials into a folder.
func (found credentials) unpack(dir string) (err error) {
	for _, file := range []struct{ name, content string }{{"ca.pem", found.CA},
		{"cert.pem", found.Certificate}, {"key.pem", found.Key}} {
		if err == nil {
			err = atomicfile.Write(filepath.Join(dir, file.name), []byte(file.content), 0o600)
		}
	}
	return err
}

// removeCredentials removes such a folder, and leaves what else somebody put there.
func removeCredentials(dir string) (err error) {
	for _, name := range []string{"key.pem", "cert.pem", "ca.pem", ""} {
		if gone := os.Remove(filepath.Join(dir, name)); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	if err != nil {
		return usageError{message: "cannot remove the context's credentials: " + err.Error()}
	}
	return nil
}

// signingRequest asks for a certificate for a key.
func signingRequest(key crypto.Signer) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
}

func readCertificate(path string) (*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New(path + " holds no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// keepFresh renews the operator's certificate when less than a third of its life is left. A call
// does not fail because of it: until its end the certificate is good.
func keepFresh(ctx context.Context, c *cli, a *api) {
	cert, err := readCertificate(c.credentialFiles().Cert)
	if err != nil {
		return
	}
	left := cert.NotAfter.Sub(c.Now())
	if left <= 0 || left > cert.NotAfter.Sub(cert.NotBefore)/3 {
		return
	}
	if _, err := renew(ctx, c, a); err != nil && c.running {
		fmt.Fprintf(c.Stderr, "the certificate in %s ends in %s and could not be renewed: %s\n",
			c.flags.credentials, show.Duration(left), show.Clean(err.Error()))
	}
}

// renew gets a new certificate for the operator's key and puts it in the place of the old one.
func renew(ctx context.Context, c *cli, a *api) (*cpv1.RenewOperatorResponse, error) {
	files := c.credentialFiles()
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New(files.Key + " cannot sign")
	}
	csr, err := signingRequest(key)
	if err != nil {
		return nil, err
	}
	answer, err := a.RenewOperator(ctx, &cpv1.RenewOperatorRequest{Csr: csr})
	if err != nil {
		return nil, err
	}
	return answer, atomicfile.Write(files.Cert, answer.GetCertificate().GetCertificatePem(), 0o600)
}
