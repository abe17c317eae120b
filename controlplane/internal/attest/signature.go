package attest

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/smallstep/pkcs7"
)

// maxSigned is how long a signed document may be; those of EC2 have some 2,000 bytes.
const maxSigned = 8192

// verified is the content of a signed message, as base64, when one of the trusted certificates has
// signed it by RSA with SHA-256. Nothing else of the message counts: no certificate in it, and no
// attribute that is not signed.
func verified(signed []byte, trusted []*x509.Certificate, now time.Time) ([]byte, error) {
	if len(signed) > maxSigned {
		return nil, fmt.Errorf("it has %d bytes, at most %d are taken", len(signed), maxSigned)
	}
	der, err := base64.StdEncoding.Strict().DecodeString(
		string(bytes.Join(bytes.Fields(signed), nil)))
	if err != nil {
		return nil, errors.New("it is not base64")
	}
	if err := checkNesting(der); err != nil {
		return nil, err
	}
	message, err := pkcs7.Parse(der)
	if err != nil {
		return nil, errors.New("it is not a PKCS #7 message")
	}
	if err := checkForm(message); err != nil {
		return nil, err
	}
	message.Certificates = trusted
	signer := message.GetOnlySigner()
	if signer == nil {
		return nil, errors.New("no certificate of the control plane's file has signed it")
	}
	if !validAt(signer, now) {
		return nil, fmt.Errorf("the certificate that signed it is valid from %s to %s",
			stamp(signer.NotBefore), stamp(signer.NotAfter))
	}
	if err := message.Verify(); err != nil {
		return nil, errors.New("its signature is not that of its content, or of another key than " +
			"the certificate's")
	}
	return message.Content, nil
}

// checkForm takes one form alone, so that no message means different things to different readers.
func checkForm(message *pkcs7.PKCS7) error {
	if n := len(message.Signers); n != 1 {
		return fmt.Errorf("it has %d signers, and must have one", n)
	}
	if len(message.Content) == 0 {
		return errors.New("it has no content")
	}
	signer := message.Signers[0]
	how := signer.DigestEncryptionAlgorithm.Algorithm
	if !signer.DigestAlgorithm.Algorithm.Equal(pkcs7.OIDDigestAlgorithmSHA256) ||
		!how.Equal(pkcs7.OIDEncryptionAlgorithmRSA) &&
			!how.Equal(pkcs7.OIDEncryptionAlgorithmRSASHA256) {
		return errors.New("it is signed in another way than by RSA with SHA-256")
	}
	if len(signer.AuthenticatedAttributes) == 0 {
		return nil
	}
	var kind asn1.ObjectIdentifier
	err := message.UnmarshalSignedAttribute(pkcs7.OIDAttributeContentType, &kind)
	if err != nil || !kind.Equal(pkcs7.OIDData) {
		return errors.New("what is signed is not said to be its content")
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
