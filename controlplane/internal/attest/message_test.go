package attest_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
)

// signer is a region's key with its certificate.
type signer struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

func newSigner(t testing.TB, bits int, change ...func(*x509.Certificate)) signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(7),
		Subject:   pkix.Name{Organization: []string{"Amazon Web Services LLC"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)}
	for _, c := range change {
		c(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return signer{key, cert}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// form is what a signed message is like; the zero value of a field is what EC2 does.
type form struct {
	digest, how asn1.ObjectIdentifier
	hash        crypto.Hash
	// bare signs the content itself, without attributes.
	bare bool
	// kind is what the signed attributes say of the content.
	kind asn1.ObjectIdentifier
	// stamped are the attributes' bytes when others than the content's are to be signed.
	signed []byte
	// detached leaves the content out, others puts more signers in.
	detached bool
	others   int
	// certificates and unsigned are put beside it.
	certificates, unsigned []byte
	// chunks puts the content in pieces, as BER allows.
	chunks bool
	// spoil changes the signature.
	spoil func([]byte)
}

func tlv(tag byte, parts ...[]byte) []byte {
	raw := asn1.RawValue{Class: int(tag >> 6), Tag: int(tag & 31), IsCompound: tag&32 != 0,
		Bytes: bytes.Join(parts, nil)}
	out, err := asn1.Marshal(raw)
	if err != nil {
		panic(err)
	}
	return out
}

func value(v any) []byte {
	out, err := asn1.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}

func algorithm(id asn1.ObjectIdentifier) []byte { return tlv(0x30, value(id), tlv(0x05)) }

func attribute(id asn1.ObjectIdentifier, v []byte) []byte {
	return tlv(0x30, value(id), tlv(0x31, v))
}

// der is the message with the content, signed by s.
func (f form) der(s signer, content []byte) []byte {
	if f.digest == nil {
		f.digest, f.hash = pkcs7.OIDDigestAlgorithmSHA256, crypto.SHA256
	}
	if f.how == nil {
		f.how = pkcs7.OIDEncryptionAlgorithmRSA
	}
	if f.kind == nil {
		f.kind = pkcs7.OIDData
	}
	sum := func(data []byte) []byte {
		h := f.hash.New()
		h.Write(data)
		return h.Sum(nil)
	}
	over, attributes := content, []byte(nil)
	if !f.bare {
		all := [][]byte{attribute(pkcs7.OIDAttributeContentType, value(f.kind)),
			attribute(pkcs7.OIDAttributeMessageDigest, tlv(0x04, sum(content)))}
		slices.SortFunc(all, bytes.Compare)
		over, attributes = tlv(0x31, all...), tlv(0xA0, all...)
	}
	if f.signed != nil {
		over = f.signed
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, f.hash, sum(over))
	if err != nil {
		panic(err)
	}
	if f.spoil != nil {
		f.spoil(signature)
	}
	one := tlv(0x30, value(1), tlv(0x30, s.cert.RawIssuer, value(s.cert.SerialNumber)),
		algorithm(f.digest), attributes, algorithm(f.how), tlv(0x04, signature), f.unsigned)
	inner := tlv(0xA0, tlv(0x04, content))
	switch {
	case f.detached:
		inner = nil
	case f.chunks:
		half := len(content) / 2
		inner = tlv(0xA0, tlv(0x24, tlv(0x04, content[:half]), tlv(0x04, content[half:])))
	}
	data := tlv(0x30, value(1), tlv(0x31, algorithm(f.digest)),
		tlv(0x30, value(pkcs7.OIDData), inner), f.certificates,
		tlv(0x31, bytes.Repeat(one, 1+f.others)))
	return tlv(0x30, value(pkcs7.OIDSignedData), tlv(0xA0, data))
}

// text is the message as the metadata service answers it.
func (f form) text(s signer, content []byte) []byte {
	return []byte(base64.StdEncoding.EncodeToString(f.der(s, content)))
}

// indefinite is the message with lengths that are not told, as BER has them and EC2 sends them.
func indefinite(der []byte) []byte {
	var outer, explicit asn1.RawValue
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		panic(err)
	}
	id := value(pkcs7.OIDSignedData)
	if _, err := asn1.Unmarshal(outer.Bytes[len(id):], &explicit); err != nil {
		panic(err)
	}
	return slices.Concat([]byte{0x30, 0x80}, id, []byte{0xA0, 0x80}, explicit.Bytes,
		[]byte{0, 0, 0, 0})
}

// overlapping are parts each of which is longer than the one that it is in: who reads them so reads
// most bytes many times, twice as many for some dozens more of them.
func overlapping(n int) []byte {
	return slices.Concat([]byte{0x30, 0x80}, bytes.Repeat([]byte{0x3e, 0x20, 0x20, 0x3e}, n/4),
		make([]byte, 200))
}

// signedAttributes are the bytes that the signature of a message is over.
func signedAttributes(content []byte) []byte {
	sum := sha256.Sum256(content)
	all := [][]byte{attribute(pkcs7.OIDAttributeContentType, value(pkcs7.OIDData)),
		attribute(pkcs7.OIDAttributeMessageDigest, tlv(0x04, sum[:]))}
	slices.SortFunc(all, bytes.Compare)
	return tlv(0x31, all...)
}

// identityDocument is that of the machine that asks, but for what the test changes.
func identityDocument(change map[string]any) []byte {
	d := map[string]any{"accountId": account, "region": region, "instanceId": machineID,
		"pendingTime": now.Add(-time.Minute).Format(time.RFC3339), "privateIp": address,
		"billingProducts": nil, "version": "2017-09-30"}
	for key, v := range change {
		d[key] = v
	}
	data, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return data
}
