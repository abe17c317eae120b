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
	"strings"
)

// maxJoinFile is far more than any join file needs.
const maxJoinFile = 64 << 10

// AttestEC2 is for machines that EC2 signs for.
const AttestEC2 = "ec2"

// JoinFile is what a new machine is given, once, to get an identity. It holds a secret, unless the
// machine is attested: mode 0600, never logged.
type JoinFile struct {
	// Server is the name of the server that the token is for.
	Server string `json:"server"`
	// ControlPlane are the control plane's addresses, host:port, to be tried in turn.
	ControlPlane []string `json:"control_plane"`
	// Token is the one-time secret.
	Token string `json:"token,omitempty"`
	// Attest is AttestEC2 for a machine that shows what its provider signs about it, in place of a
	// token.
	Attest string `json:"attest,omitempty"`
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

// Command is the line that makes a machine join, for its root; it has the token. The CA is left to
// its pin.
func (f JoinFile) Command() string {
	proof := " --token " + f.Token
	if f.Attest != "" {
		proof = " --attest " + f.Attest
	}
	return "understudy-agent join --server " + f.Server + " --address " +
		strings.Join(f.ControlPlane, ",") + " --ca-pin " + ShowPin(f.CASPKISHA256) + proof
}

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
	if err := f.CheckTold(); err != nil {
		return err
	}
	_, err := f.Roots()
	return err
}

// CheckTold checks all but the CA: a host can be told no more than its pin, and get it from the
// control plane.
func (f JoinFile) CheckTold() error {
	if err := CheckName(f.Server); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	switch {
	case f.Token == "" && f.Attest == "":
		return errors.New("no token")
	case f.Token != "" && f.Attest != "":
		return errors.New("attest: a token is there already")
	case f.Attest != "" && f.Attest != AttestEC2:
		return fmt.Errorf("attest: %.40q must be %s", f.Attest, AttestEC2)
	}
	if len(f.ControlPlane) == 0 {
		return errors.New("no address of a control plane")
	}
	for _, address := range f.ControlPlane {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("control_plane: %w", err)
		}
	}
	return nil
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

// pinPrefix names the hash of a pin that a user sees.
const pinPrefix = "sha256:"

// ShowPin is a pin as users see it.
func ShowPin(pin string) string { return pinPrefix + pin }

// ParsePin reads a pin as users see it: with the name of its hash.
func ParsePin(text string) (string, error) {
	pin, named := strings.CutPrefix(text, pinPrefix)
	raw, err := hex.DecodeString(pin)
	if !named || err != nil || len(raw) != sha256.Size || strings.ToLower(pin) != pin {
		return "", fmt.Errorf(
			"%.100q is not a pin: must be %s and %d lower-case hexadecimal digits", text,
			pinPrefix, 2*sha256.Size)
	}
	return pin, nil
}

// VerifyIntroduced holds a server that was dialled with Unverified to what it answered: its CA to
// the pin, and the certificate that it showed to that CA. It believes no clock: whether the
// certificate is good now is seen by the next connection, which is verified.
func VerifyIntroduced(caPEM []byte, pin string, shown []*x509.Certificate, expect Identity) error {
	roots, err := JoinFile{CAPEM: string(caPEM), CASPKISHA256: pin}.Roots()
	if err != nil {
		return err
	}
	return VerifyShown(roots, shown, expect)
}

// VerifyShown is VerifyIntroduced for a client that knows the CA already, and does not know whose
// clock is wrong.
func VerifyShown(roots *x509.CertPool, shown []*x509.Certificate, expect Identity) error {
	if len(shown) == 0 {
		return errors.New("it showed no certificate")
	}
	v := verification{roots: roots, usage: x509.ExtKeyUsageServerAuth, now: shown[0].NotAfter}
	id, err := v.verify(shown)
	if err == nil && id != expect {
		err = fmt.Errorf("the server is %s, expected %s", id, expect)
	}
	return err
}

// Pin is the SHA-256 of a certificate's public key, in lower-case hexadecimal.
func Pin(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}
