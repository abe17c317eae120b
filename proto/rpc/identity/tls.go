package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// ServerConfig says whom a server lets in.
type ServerConfig struct {
	// Source is the server's own identity and the CAs that it believes.
	Source Source
	// AllowAnonymous lets peers without a certificate finish the handshake; what they may call is
	// up to the access rules.
	AllowAnonymous bool
	// Revoked says whether the certificate with that serial is on the deny list; nil denies none.
	Revoked func(serial string) bool
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// ServerTLS is TLS 1.3 that shows the source's certificate and verifies the peer's.
func ServerTLS(config ServerConfig) (*tls.Config, error) {
	if config.Source == nil {
		return nil, errors.New("cannot serve TLS: no identity")
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	clientAuth := tls.RequireAnyClientCert
	if config.AllowAnonymous {
		clientAuth = tls.RequestClientCert
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, ClientAuth: clientAuth,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate,
			error) {
			return certificate(config.Source)
		},
		VerifyConnection: config.verify,
	}, nil
}

func (config ServerConfig) verify(state tls.ConnectionState) error {
	if config.AllowAnonymous && len(state.PeerCertificates) == 0 {
		return nil
	}
	_, err := verifyPeer(config.Source, config.Now(), state, x509.ExtKeyUsageClientAuth,
		config.Revoked)
	return err
}

// ClientConfig says whom a client talks to.
type ClientConfig struct {
	// Source is the client's own identity and the CAs that it believes.
	Source Source
	// Expect is the one identity that the server must prove.
	Expect Identity
	// Revoked says whether the certificate with that serial is on the deny list; nil denies none.
	Revoked func(serial string) bool
	// Unverified talks to any server, for a client that is to learn its CA from it. Nothing secret
	// goes over such a connection, and the answer is held to a pin: see VerifyIntroduced.
	Unverified bool
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// ClientTLS is TLS 1.3 to exactly the server that is expected, whatever its address is.
func ClientTLS(config ClientConfig) (*tls.Config, error) {
	if config.Source == nil {
		return nil, errors.New("cannot dial over TLS: no identity")
	}
	if err := config.Expect.Check(); err != nil {
		return nil, fmt.Errorf("cannot dial over TLS: expected identity: %w", err)
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		// Go's own check would use fixed roots and the host name. VerifyConnection, which is called
		// on each handshake, checks chain, usage and identity against the roots of now.
		InsecureSkipVerify:   true, //nolint:gosec // see above
		VerifyConnection:     config.verify,
		GetClientCertificate: config.certificate,
	}, nil
}

func (config ClientConfig) verify(state tls.ConnectionState) error {
	if config.Unverified {
		return nil
	}
	id, err := verifyPeer(config.Source, config.Now(), state, x509.ExtKeyUsageServerAuth,
		config.Revoked)
	if err != nil {
		return err
	}
	if id != config.Expect {
		return fmt.Errorf("the server is %s, expected %s", id, config.Expect)
	}
	return nil
}

// certificate answers with an empty certificate when there is none, which TLS sends as "none".
func (config ClientConfig) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	credentials, err := config.Source.Credentials()
	if err != nil {
		return nil, err
	}
	if credentials.Certificate == nil {
		return &tls.Certificate{}, nil
	}
	return credentials.Certificate, nil
}

func certificate(source Source) (*tls.Certificate, error) {
	credentials, err := source.Credentials()
	if err != nil {
		return nil, err
	}
	if credentials.Certificate == nil {
		return nil, errors.New("no certificate to show")
	}
	return credentials.Certificate, nil
}

func verifyPeer(source Source, now time.Time, state tls.ConnectionState, usage x509.ExtKeyUsage,
	revoked func(string) bool) (Identity, error) {
	credentials, err := source.Credentials()
	if err != nil {
		return Identity{}, err
	}
	if credentials.Roots == nil {
		return Identity{}, errors.New("no CA to believe")
	}
	v := verification{roots: credentials.Roots, usage: usage, now: now, revoked: revoked}
	return v.verify(state.PeerCertificates)
}
