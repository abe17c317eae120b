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
	"time"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
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

// endsSoon is how long before its end a login is said to end.
const endsSoon = 10 * time.Minute

// keepFresh renews the operator's certificate when less than half of its life is left. A call does
// not fail because of it: until its end the certificate is good.
func keepFresh(ctx context.Context, c *cli, a *api) {
	cert, err := identity.ReadCertificate(c.credentialFiles().Cert)
	if err != nil || c.Now().Before(identity.RenewTime(cert)) {
		return
	}
	left := cert.NotAfter.Sub(c.Now())
	if who, _ := identity.FromCertificate(cert); isLogin(who) {
		if left > 0 && left < endsSoon && c.running {
			fmt.Fprintf(c.Stderr, "the login ends in %s; `understudy login` begins another one\n",
				show.Duration(left))
		}
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
	csr, err := requestFor(files)
	if err != nil {
		return nil, err
	}
	answer, err := a.RenewOperator(ctx, &cpv1.RenewOperatorRequest{Csr: csr})
	if err != nil {
		return nil, err
	}
	got := answer.GetCertificate()
	return answer, replaceFiles(files, got.GetCaPem(), got.GetCertificatePem())
}

// requestFor asks for a certificate for the key in the files.
func requestFor(files identity.FilesConfig) ([]byte, error) {
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New(files.Key + " cannot sign")
	}
	return signingRequest(key)
}

// replaceFiles puts a certificate for the same key in the place of the old one, and the CAs that
// are to be believed from now on.
func replaceFiles(files identity.FilesConfig, ca, cert []byte) error {
	if err := atomicfile.Write(files.CA, ca, 0o600); err != nil {
		return err
	}
	return atomicfile.Write(files.Cert, cert, 0o600)
}

// revive renews a certificate that has expired, as the control plane does for a while: it says what
// to do where that is over.
func revive(ctx context.Context, c *cli) error {
	files := c.credentialFiles()
	cert, err := identity.ReadCertificate(files.Cert)
	if err != nil || c.Now().Before(cert.NotAfter) {
		return nil //nolint:nilerr // whoever uses the files says what is wrong with them
	}
	if who, _ := identity.FromCertificate(cert); isLogin(who) {
		return usageError{message: "the login in " + c.flags.credentials + " ended on " +
			stamp(cert.NotAfter), hint: "log in again: `understudy login`"}
	}
	answer, err := renewExpired(ctx, c, cert, files)
	err = clocks(ctx, c, err)
	if errs.KindOf(err) == errs.Unauthenticated {
		return usageError{
			message: fmt.Sprintf("the operator's certificate in %s expired on %s, and cannot be "+
				"renewed any more: %v", c.flags.credentials, stamp(cert.NotAfter), err),
			hint: "make new credentials on the control plane's host with `understudy operator " +
				"create NAME --out FILE`, remove the context and add it with them " +
				"(`understudy context remove`, `understudy context add`)",
		}
	}
	if err != nil {
		return err
	}
	return replaceFiles(files, answer.GetCaPem(), answer.GetCertificatePem())
}

// renewExpired shows no certificate to the control plane: one that has ended opens no connection.
func renewExpired(ctx context.Context, c *cli, cert *x509.Certificate,
	files identity.FilesConfig) (*cpv1.RenewExpiredResponse, error) {
	csr, err := requestFor(files)
	if err != nil {
		return nil, err
	}
	roots, err := identity.ReadRoots(files.CA)
	if err != nil {
		return nil, err
	}
	conn, err := chassis.Dial(chassis.DialConfig{Address: c.flags.address,
		Deadline: c.flags.timeout.value, TLS: identity.ClientConfig{
			Source: &identity.Static{Roots: roots}, Expect: identity.ControlPlane()}})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	shown := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	return cpv1.NewEnrollmentServiceClient(conn).RenewExpired(ctx,
		&cpv1.RenewExpiredRequest{CertificatePem: shown, Csr: csr, TakesChain: true})
}
