package identity

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// Credentials are what one side shows, and what it believes.
type Credentials struct {
	// Certificate is shown to the peer; nil for a machine that has none yet.
	Certificate *tls.Certificate
	// Roots are the CAs that a peer's certificate must come from.
	Roots *x509.CertPool
}

// Source hands out the credentials to use for a handshake that begins now.
type Source interface {
	// Credentials are the newest usable ones.
	Credentials() (*Credentials, error)
}

// Static are credentials that never change.
type Static Credentials

// Credentials are the same each time.
func (s *Static) Credentials() (*Credentials, error) { return (*Credentials)(s), nil }

// FilesConfig names the PEM files of an identity.
type FilesConfig struct {
	// CA holds the certificates of the CAs to believe.
	CA string
	// Cert holds the certificate to show, and its intermediates.
	Cert string
	// Key holds the private key of Cert.
	Key string
	// Logger hears of files that changed and cannot be used; the default logger when nil.
	Logger *slog.Logger
}

// Files are credentials in files. They are looked at on each handshake and read again when one of
// them changed; while what is there cannot be used (half of a pair is replaced), the last usable
// ones go on.
type Files struct {
	config FilesConfig

	mu      sync.Mutex
	seen    [3]os.FileInfo
	current *Credentials
}

// NewFiles reads the files once, so that a mistake shows at the start.
func NewFiles(config FilesConfig) (*Files, error) {
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	f := &Files{config: config}
	if err := f.reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Credentials are those in the files, read again only when a file changed.
func (f *Files) Credentials() (*Credentials, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed() {
		if err := f.reload(); err != nil {
			f.config.Logger.Warn("keeping the identity in use: the new one cannot be used", "error",
				err)
		}
	}
	return f.current, nil
}

func (f *Files) paths() [3]string { return [3]string{f.config.CA, f.config.Cert, f.config.Key} }

func (f *Files) changed() bool {
	for i, path := range f.paths() {
		info, err := os.Stat(path)
		if err != nil || !sameContent(f.seen[i], info) {
			return true
		}
	}
	return false
}

func sameContent(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// reload looks at the files before it reads them: a change in between is then seen the next time.
func (f *Files) reload() error {
	var seen [3]os.FileInfo
	for i, path := range f.paths() {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("cannot read identity: %w", err)
		}
		seen[i] = info
	}
	credentials, err := load(f.config)
	if err != nil {
		return err
	}
	f.seen, f.current = seen, credentials
	return nil
}

func load(config FilesConfig) (*Credentials, error) {
	cert, err := tls.LoadX509KeyPair(config.Cert, config.Key)
	if err != nil {
		return nil, fmt.Errorf("cannot use certificate %s: %w", config.Cert, err)
	}
	roots, err := ReadRoots(config.CA)
	if err != nil {
		return nil, err
	}
	return &Credentials{Certificate: &cert, Roots: roots}, nil
}

// ReadRoots reads the certificates of a file that are to be believed.
func ReadRoots(path string) (*x509.CertPool, error) {
	bundle, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("cannot use CA %s: no certificate in it", path)
	}
	return roots, nil
}
