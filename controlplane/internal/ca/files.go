package ca

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// renewEvery is how often the control plane looks at its own certificates, unless they are
// short-lived.
const renewEvery = time.Hour

// keepLimit bounds one of these looks.
const keepLimit = time.Minute

// Kept is an identity whose files the registry keeps good: ca.pem, cert.pem and key.pem (0600) in
// one folder.
type Kept struct {
	// Dir is the folder; it is made with mode 0700.
	Dir string
	// Identity is whose; the control plane or an operator.
	Identity identity.Identity
}

// Files says where the files are, for identity.NewFiles.
func (k Kept) Files() identity.FilesConfig {
	return identity.FilesConfig{CA: filepath.Join(k.Dir, "ca.pem"),
		Cert: filepath.Join(k.Dir, "cert.pem"), Key: filepath.Join(k.Dir, "key.pem")}
}

// Keep makes sure that the files are there and good: of this CA, for this key and these names, not
// revoked and with more than half of their life left. It changes only what is not. An operator
// whose certificate was revoked gets no other one for the same key: Keep warns, and leaves the
// files.
func (r *Registry) Keep(ctx context.Context, kept Kept) error {
	r.keeps.add(kept)
	if err := r.keep(ctx, kept, false); err != nil {
		return fmt.Errorf("cannot keep the identity %s in %s: %w", kept.Identity, kept.Dir, err)
	}
	return nil
}

// Usable says whether the files are good until they expire, as the registry kept them before.
func (k Kept) Usable(r *Registry) bool {
	data, err := os.ReadFile(k.Files().Cert)
	if err != nil {
		return false
	}
	cert, err := parseCertificate(data)
	if err != nil || r.Denied(identity.Serial(cert)) || r.config.Authority.believes(cert) != nil {
		return false
	}
	key, err := ensureKey(k.Files().Key)
	return err == nil && key.PublicKey.Equal(cert.PublicKey) &&
		r.config.Now().Before(cert.NotAfter)
}

// keeps are the identities that the registry keeps.
type keeps struct {
	mu  sync.Mutex
	all []Kept
}

func (k *keeps) add(kept Kept) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Contains(k.all, kept) {
		k.all = append(k.all, kept)
	}
}

func (k *keeps) list() []Kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.all)
}

func (r *Registry) keep(ctx context.Context, kept Kept, strictly bool) error {
	if err := os.MkdirAll(kept.Dir, 0o700); err != nil {
		return err
	}
	files := kept.Files()
	key, err := ensureKey(files.Key)
	if err != nil {
		return err
	}
	if err := ensureContent(files.CA, r.config.Authority.PEM()); err != nil {
		return err
	}
	want := peerRequest(kept.Identity, nil, r.config.OperatorLife, &key.PublicKey)
	believes := r.config.Authority.believes
	if kept.Identity.Role == identity.RoleControlPlane {
		want.names, want.life = r.ownNames(), r.config.ControlPlaneLife
		believes = r.config.Authority.shown
	}
	if strictly {
		believes = r.config.Authority.signed
	}
	if r.fits(files.Cert, want, believes) {
		return nil
	}
	issued, err := r.config.Authority.issue(ctx, want)
	if err != nil {
		return err
	}
	err = r.alone(ctx, "cannot record the certificate",
		func(ctx context.Context, records Records) error {
			if err := trusted(ctx, records, issued.Record.KeyPrint); err != nil {
				return err
			}
			return records.Certificates.Insert(ctx, issued.Record)
		})
	if kept.Identity.Role.IsOperator() &&
		errs.ReasonOf(err) == errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
		r.config.Logger.Warn("the operator's credentials are revoked, and stay so",
			"identity", kept.Identity.String(), "dir", kept.Dir)
		return nil
	}
	if err != nil {
		return err
	}
	r.config.Logger.Info("issued a certificate", "identity", kept.Identity.String(), "expires",
		issued.Record.NotAfter)
	return atomicfile.Write(files.Cert, issued.PEM, 0o644)
}

// ownNames is what clients of another make may call the control plane.
func (r *Registry) ownNames() []string {
	names := []string{"controlplane", "localhost", "127.0.0.1", "::1"}
	for _, address := range r.config.ControlPlane {
		if host, _, err := net.SplitHostPort(address); err == nil && !slices.Contains(names, host) {
			names = append(names, host)
		}
	}
	return names
}

// fits says whether the certificate in the file is what would be issued now.
func (r *Registry) fits(path string, want request, believes func(*x509.Certificate) error) bool {
	data, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	cert, err := parseCertificate(data)
	if err != nil || r.Denied(identity.Serial(cert)) || believes(cert) != nil {
		return false
	}
	id, err := identity.FromCertificate(cert)
	return err == nil && id == want.identity && sameKey(cert, want) && hasNames(cert, want.names) &&
		r.config.Now().Before(identity.RenewTime(cert)) && !r.config.Now().Before(cert.NotBefore)
}

func sameKey(cert *x509.Certificate, want request) bool {
	der, err := x509.MarshalPKIXPublicKey(want.key)
	return err == nil && bytes.Equal(der, cert.RawSubjectPublicKeyInfo)
}

func hasNames(cert *x509.Certificate, names []string) bool {
	for _, name := range names {
		if cert.VerifyHostname(name) != nil {
			return false
		}
	}
	return true
}

func ensureContent(path string, data []byte) error {
	if got, err := os.ReadFile(path); err == nil && bytes.Equal(got, data) {
		return nil
	}
	return atomicfile.Write(path, data, 0o644)
}

// Run keeps the files good and the deny list fresh until ctx ends. Call Keep for each first: a
// control plane needs its files before it can serve.
func (r *Registry) Run(ctx context.Context, kept ...Kept) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		r.config.Loops.Run(ctx, refreshing, r.Refresh)
		return nil
	})
	if r.config.Authority.config.Signer != nil {
		group.Go(func() error {
			r.config.Loops.Run(ctx, checking(), r.config.Authority.CheckSigner)
			return nil
		})
	}
	group.Go(func() error {
		r.config.Loops.Run(ctx, r.keeping(), func(ctx context.Context) error {
			var faults []error
			for _, k := range kept {
				faults = append(faults, r.Keep(ctx, k))
			}
			return errors.Join(faults...)
		})
		return nil
	})
	return group.Wait()
}

// keeping looks again and again: a look costs nothing, and one that failed is repeated.
func (r *Registry) keeping() loop.Spec {
	every := min(renewEvery, r.config.ControlPlaneLife/6, r.config.OperatorLife/6)
	return loop.Spec{Name: "renew the control plane's certificates", Every: every,
		Limit: keepLimit, LateAfter: 2*every + keepLimit,
		Means: "the certificates of the control plane and of the operator may expire"}
}
