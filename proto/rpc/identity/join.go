package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
)

// maxJoinFile is far more than any join file needs.
const maxJoinFile = 64 << 10

// JoinFile is what a new machine is given, once, to get an identity. It holds a secret: mode 0600,
// never logged.
type JoinFile struct {
	// Server is the name of the server that the token is for.
	Server string `json:"server"`
	// ControlPlane are the control plane's addresses, host:port, to be tried in turn.
	ControlPlane []string `json:"control_plane"`
	// Token is the one-time secret.
	Token string `json:"token"`
	// CASPKISHA256 is the pin: SHA-256 of the CA's public key, lower-case hexadecimal.
	CASPKISHA256 string `json:"ca_spki_sha256"`
	// CAPEM is the CA's certificate.
	CAPEM string `json:"ca_pem"`
}

// String hides the token.
func (f JoinFile) String() string {
	return fmt.Sprintf("join file for %s by %v (pin %s)", f.Server, f.ControlPlane, f.CASPKISHA256)
}

// GoString hides the token.
func (f JoinFile) GoString() string { return f.String() }

// ParseJoinFile reads and checks a join file: all fields, no others, and a CA that the pin fits.
func ParseJoinFile(data []byte) (JoinFile, error) {
	var f JoinFile
	if len(data) > maxJoinFile {
		return JoinFile{}, fmt.Errorf("invalid join file: %d bytes, at most %d", len(data),
			maxJoinFile)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return JoinFile{}, fmt.Errorf("invalid join file: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return JoinFile{}, errors.New("invalid join file: more after its end")
	}
	if err := f.check(); err != nil {
		return JoinFile{}, fmt.Errorf("invalid join file: %w", err)
	}
	return f, nil
}

func (f JoinFile) check() error {
	if err := CheckName(f.Server); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	if f.Token == "" {
		return errors.New("no token")
	}
	if len(f.ControlPlane) == 0 {
		return errors.New("no address of a control plane")
	}
	for _, address := range f.ControlPlane {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("control_plane: %w", err)
		}
	}
	_, err := f.Roots()
	return err
}

// Roots are the CA of the file, when it is the one that the pin names.
func (f JoinFile) Roots() (*x509.CertPool, error) {
	block, rest := pem.Decode([]byte(f.CAPEM))
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("ca_pem: must hold one certificate")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("ca_pem: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(Pin(ca)), []byte(f.CASPKISHA256)) != 1 {
		return nil, errors.New("ca_spki_sha256: is not the pin of ca_pem")
	}
	return pool([]*x509.Certificate{ca}), nil
}

// Pin is the SHA-256 of a certificate's public key, in lower-case hexadecimal.
func Pin(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}
