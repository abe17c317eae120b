package ec2lab

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/smallstep/pkcs7"
)

// Certificate is that of the lab's region, as PEM: what Amazon publishes for each of its own.
func (s *Server) Certificate() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _, err := s.signing()
	return s.state.Signing.Certificate, err
}

// signed signs as EC2 does for rsa2048: RSA with SHA-256 over the content, which is in the message.
func (s *Server) signed(content []byte) ([]byte, error) {
	key, cert, err := s.signing()
	if err != nil {
		return nil, err
	}
	message, err := pkcs7.NewSignedData(content)
	if err != nil {
		return nil, err
	}
	message.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := message.AddSigner(cert, key, pkcs7.SignerInfoConfig{}); err != nil {
		return nil, err
	}
	return message.Finish()
}

// signing is the key that signs, made at its first use.
func (s *Server) signing() (*rsa.PrivateKey, *x509.Certificate, error) {
	kept := &s.state.Signing
	if len(kept.Key) == 0 {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, nil, err
		}
		name := pkix.Name{Country: []string{"US"}, Province: []string{"Washington State"},
			Locality: []string{"Seattle"}, Organization: []string{"Understudy's lab"}}
		template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()),
			Subject: name, NotBefore: s.cfg.Now().Add(-time.Hour),
			NotAfter: s.cfg.Now().AddDate(100, 0, 0)}
		cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			return nil, nil, err
		}
		kept.Key = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY",
			Bytes: x509.MarshalPKCS1PrivateKey(key)})
		kept.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
		if err := s.state.save(); err != nil {
			return nil, nil, err
		}
	}
	key, cert := read(kept.Key), read(kept.Certificate)
	if key == nil || cert == nil {
		return nil, nil, errors.New("the EC2 endpoint's state has no key that signs")
	}
	signer, err := x509.ParsePKCS1PrivateKey(key.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the key of the EC2 endpoint: %w", err)
	}
	parsed, err := x509.ParseCertificate(cert.Bytes)
	return signer, parsed, err
}

func read(data []byte) *pem.Block {
	block, _ := pem.Decode(data)
	return block
}
