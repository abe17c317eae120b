package attest_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	_ "crypto/sha1" // of an older signature

	"github.com/smallstep/pkcs7"

	"github.com/understudy-db/understudy/controlplane/internal/attest"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	account   = "123456789012"
	region    = "eu-central-1"
	machineID = "i-0123456789abcdef0"
	address   = "10.0.0.7"
)

var now = time.Now().UTC().Truncate(time.Second)

// shows is the provider: one machine, or an error.
type shows struct {
	provider.Machine
	err error
}

func (s shows) GetMachine(_ context.Context, id string) (provider.Machine, error) {
	if s.err == nil && id != s.ID {
		return provider.Machine{}, provider.Errorf(provider.ErrNotFound, id, "none")
	}
	return s.Machine, s.err
}

func running() provider.Machine {
	return provider.Machine{ID: machineID, State: provider.MachineRunning, Address: address,
		CreatedAt: now.Add(-time.Minute)}
}

func newEC2(t testing.TB, s shows, trusted ...*x509.Certificate) *attest.EC2 {
	t.Helper()
	return newBehindNAT(t, s, nil, trusted...)
}

func newBehindNAT(t testing.TB, s shows, nat []netip.Prefix,
	trusted ...*x509.Certificate) *attest.EC2 {
	t.Helper()
	e, err := attest.NewEC2(attest.EC2Config{Accounts: []string{"000000000001", account},
		Region: region, Certificates: trusted, Machines: s, NAT: nat,
		Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	return e
}

// A machine behind a NAT comes from the address of that; all else is checked as before.
func TestAMachineBehindANAT(t *testing.T) {
	t.Parallel()
	amazon := newSigner(t, 2048)
	nat := []netip.Prefix{netip.MustParsePrefix("203.0.113.8/29"),
		netip.MustParsePrefix("2001:db8::7/128")}
	e := newBehindNAT(t, shows{Machine: running()}, nat, amazon.cert)
	good := form{}.text(amazon, identityDocument(nil))
	for from, in := range map[string]bool{"203.0.113.9": true, "::ffff:203.0.113.9": true,
		"2001:db8::7": true, address: true, "203.0.113.16": false, "2001:db8::8": false,
		"10.0.0.66": false, "": false} {
		m, err := e.Attest(t.Context(), good, from)
		if (err == nil) != in || m.Machine != machineID {
			t.Errorf("from %q: %+v, %v", from, m, err)
		}
	}
	for what, document := range map[string]map[string]any{
		"another account":  {"accountId": "210987654321"},
		"started long ago": {"pendingTime": now.Add(-time.Hour).Format(time.RFC3339)}} {
		signed := form{}.text(amazon, identityDocument(document))
		if _, err := e.Attest(t.Context(), signed, "203.0.113.9"); err == nil {
			t.Errorf("%s is let in from the NAT", what)
		}
	}
}

func TestAMachineIsProved(t *testing.T) {
	t.Parallel()
	amazon, other := newSigner(t, 2048), newSigner(t, 2048, serial(8))
	e := newEC2(t, shows{Machine: running()}, other.cert, amazon.cert)
	good := identityDocument(nil)
	nobodys := tlv(0xA1, attribute(pkcs7.OIDAttributeContentType, value(1)))
	lines := func(text []byte) []byte {
		return append(bytes.ReplaceAll(text, []byte("A"),
			[]byte("A\n")), '\n')
	}
	for name, signed := range map[string][]byte{
		"as EC2 signs":       form{}.text(amazon, good),
		"in lines":           lines(form{}.text(amazon, good)),
		"without attributes": form{bare: true}.text(amazon, good),
		"named with the hash": form{how: pkcs7.OIDEncryptionAlgorithmRSASHA256}.text(amazon,
			good),
		"its content in pieces":     form{chunks: true}.text(amazon, good),
		"lengths that are not told": encode(indefinite(form{}.der(amazon, good))),
		"with attributes of nobody": form{unsigned: nobodys}.text(amazon, good),
		"with a certificate of another": form{certificates: tlv(0xA0, other.cert.Raw)}.text(amazon,
			good),
	} {
		m, err := e.Attest(t.Context(), signed, address)
		if err != nil || m.Machine != machineID || m.Provider != "ec2" ||
			!m.Started.Equal(now.Add(-time.Minute)) || !m.Expires.Equal(now.Add(4*time.Minute)) ||
			!m.Created.Equal(now.Add(-time.Minute)) {
			t.Errorf("%s: %+v %v", name, m, err)
		}
	}
	if _, err := e.Attest(t.Context(), form{}.text(amazon, good), "::ffff:"+address); err != nil {
		t.Errorf("its address in IPv6: %v", err)
	}
}

func serial(n int64) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.SerialNumber.SetInt64(n) }
}

func encode(der []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(der)) }

// What somebody sends who has no signature of EC2 for it. The stranger's certificate has issuer and
// serial of Amazon's.
func TestSignaturesThatAreRefused(t *testing.T) {
	t.Parallel()
	amazon, stranger := newSigner(t, 2048), newSigner(t, 2048)
	gone := newSigner(t, 2048, serial(9), func(c *x509.Certificate) {
		c.NotAfter = now.Add(-time.Minute)
	})
	e := newEC2(t, shows{Machine: running()}, amazon.cert, gone.cert)
	good := identityDocument(nil)
	tampered := bytes.Replace(form{}.der(amazon, identityDocument(map[string]any{
		"instanceId": "i-0123456789abcdef1"})), []byte("abcdef1"), []byte("abcdef0"), 1)
	beside := form{certificates: tlv(0xA0, stranger.cert.Raw)}
	tests := map[string]struct {
		signed []byte
		why    string
	}{
		"nothing":         {nil, "PKCS #7"},
		"no base64":       {[]byte("{}!"), "base64"},
		"no message":      {encode(good), "PKCS #7"},
		"huge":            {bytes.Repeat([]byte("A"), 8193), "8193 bytes"},
		"huge, of blanks": {bytes.Repeat([]byte(" "), 1<<20), "bytes"},
		"nested": {encode(bytes.Repeat([]byte{0x30, 0x80}, 3000)),
			"PKCS #7"},
		"parts that overlap":         {encode(overlapping(20)), "within one another"},
		"many parts that overlap":    {encode(overlapping(5000)), "within one another"},
		"a length cut off":           {encode([]byte{0x30, 0x82}), "within one another"},
		"a length of four bytes cut": {encode([]byte{0x30, 0x84, 1}), "within one another"},
		"a tag cut off":              {encode([]byte{0x3f, 0x80}), "within one another"},
		"an end that is left out":    {encode([]byte{0x30, 0x80, 0x05, 0}), "within one another"},
		"something after it":         {encode(append(form{}.der(amazon, good), 0, 0)), "within"},
		"document changed":           {encode(tampered), "signature"},
		"signature changed": {form{spoil: func(s []byte) { s[9] ^= 1 }}.text(amazon, good),
			"signature"},
		"key of a stranger":        {form{}.text(stranger, good), "signature"},
		"a stranger's certificate": {beside.text(stranger, good), "signature"},
		"certificate of another region": {form{}.text(newSigner(t, 2048, serial(10)), good),
			"no certificate"},
		"certificate that has expired": {form{}.text(gone, good), "valid from"},
		"content left out":             {form{detached: true}.text(amazon, good), "no content"},
		"content of another kind": {form{kind: pkcs7.OIDSignedData}.text(amazon, good),
			"not said to be its content"},
		"attributes of another content": {form{signed: signedAttributes([]byte("x"))}.text(amazon,
			good), "signature"},
		"attributes as content": {form{bare: true}.text(amazon, signedAttributes(good)),
			"not an instance identity document"},
		"two signers": {form{others: 1}.text(amazon, good), "2 signers"},
		"SHA-1": {form{digest: pkcs7.OIDDigestAlgorithmSHA1, hash: crypto.SHA1}.text(amazon,
			good), "another way"},
		"SHA-1 by name alone": {form{digest: pkcs7.OIDDigestAlgorithmSHA1,
			hash: crypto.SHA256}.text(amazon, good), "another way"},
		"DSA by name": {form{how: pkcs7.OIDDigestAlgorithmDSA}.text(amazon, good), "another way"},
		"ECDSA by name": {form{how: pkcs7.OIDDigestAlgorithmECDSASHA256}.text(amazon, good),
			"another way"},
		"nobody's instance": {form{}.text(amazon, []byte(`{}`)), "names no instance"},
		"ID that is none": {form{}.text(amazon, identityDocument(map[string]any{
			"instanceId": "i-0123456789abcdef0/.."})), "names no instance"},
		"two documents": {form{}.text(amazon, append(good, good...)), "not an instance identity"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := e.Attest(t.Context(), test.signed, address)
			if !errors.Is(err, errs.PermissionDenied) || m.Machine != "" ||
				errs.ReasonOf(err) != errorsv1.Reason_REASON_ATTESTATION_INVALID ||
				!strings.Contains(err.Error(), test.why) || errs.HintOf(err).Empty() {
				t.Errorf("%+v %v", m, err)
			}
		})
	}
}

func TestMachinesThatAreRefused(t *testing.T) {
	t.Parallel()
	amazon := newSigner(t, 2048)
	with := func(change func(*provider.Machine)) shows {
		m := running()
		change(&m)
		return shows{Machine: m}
	}
	const invalid, expired = errorsv1.Reason_REASON_ATTESTATION_INVALID,
		errorsv1.Reason_REASON_ATTESTATION_EXPIRED
	started := func(at time.Time) map[string]any {
		return map[string]any{"pendingTime": at.Format(time.RFC3339)}
	}
	tests := map[string]struct {
		document map[string]any
		shows    shows
		address  string
		kind     error
		reason   errorsv1.Reason
		why      string
	}{
		"another account": {map[string]any{"accountId": "210987654321"},
			shows{Machine: running()}, address, errs.PermissionDenied, invalid, "account"},
		"another region": {map[string]any{"region": "us-east-1"}, shows{Machine: running()},
			address, errs.PermissionDenied, invalid, "us-east-1"},
		"old": {started(now.Add(-5*time.Minute - time.Second)), shows{Machine: running()}, address,
			errs.PermissionDenied, expired, "more than 5m0s ago"},
		"of the future": {started(now.Add(2 * time.Minute)), shows{Machine: running()}, address,
			errs.PermissionDenied, expired, "by EC2's clock"},
		"terminated, and shown from elsewhere": {nil, with(func(m *provider.Machine) {
			m.State = provider.MachineTerminated
		}), "10.0.0.66", errs.PermissionDenied, invalid, "terminated"},
		"stopped": {nil, with(func(m *provider.Machine) { m.State = provider.MachineStopped }),
			address, errs.PermissionDenied, invalid, "stopped"},
		"that of another machine": {nil, shows{Machine: running()}, "10.0.0.66",
			errs.PermissionDenied, invalid, "10.0.0.66"},
		"from nowhere": {nil, shows{Machine: running()}, "", errs.PermissionDenied, invalid,
			"is at"},
		"pending": {nil, with(func(m *provider.Machine) { m.State = provider.MachinePending }),
			address, errs.Unavailable, invalid, "pending"},
		"not shown yet": {map[string]any{"instanceId": "i-0123456789abcdef1"},
			shows{Machine: running()}, address, errs.Unavailable, invalid, "does not show"},
		"EC2 is away": {nil, shows{err: errors.New("secret words")}, address, errs.Unavailable,
			invalid, "does not answer"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := newEC2(t, test.shows, amazon.cert)
			_, err := e.Attest(t.Context(), form{}.text(amazon, identityDocument(test.document)),
				test.address)
			if !errors.Is(err, test.kind) || errs.ReasonOf(err) != test.reason ||
				!strings.Contains(err.Error(), test.why) || errs.HintOf(err).Empty() ||
				strings.Contains(err.Error(), "secret") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestCertificatesThatAreBelieved(t *testing.T) {
	t.Parallel()
	good, short := newSigner(t, 2048), newSigner(t, 1024)
	gone := newSigner(t, 2048, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
	block := func(kind string, s signer) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: s.cert.Raw}))
	}
	for name, test := range map[string]struct {
		file  string
		n     int
		valid bool
		why   string
	}{
		"one":         {"Frankfurt\n" + block("CERTIFICATE", good), 1, true, ""},
		"old and new": {block("CERTIFICATE", gone) + block("CERTIFICATE", good), 2, true, ""},
		"none":        {"", 0, false, "no certificate"},
		"expired":     {block("CERTIFICATE", gone), 1, false, ""},
		"of the older signature": {block("CERTIFICATE", good) + block("CERTIFICATE", short), 0,
			false, "2048 bits"},
		"a key": {block("PRIVATE KEY", good), 0, false, "certificates alone"},
	} {
		all, err := attest.Certificates([]byte(test.file))
		if len(all) != test.n || attest.SomeValid(all, now) != test.valid ||
			(test.why == "") != (err == nil) ||
			err != nil && !strings.Contains(err.Error(), test.why) {
			t.Errorf("%s: %d %v", name, len(all), err)
		}
	}
}

func FuzzAttest(f *testing.F) {
	amazon := newSigner(f, 2048)
	e := newEC2(f, shows{Machine: running()}, amazon.cert)
	good := form{}.der(amazon, identityDocument(nil))
	f.Add(good)
	f.Add(indefinite(good))
	f.Fuzz(func(t *testing.T, der []byte) {
		m, err := e.Attest(t.Context(), encode(der), address)
		if err == nil && m.Machine != machineID {
			t.Errorf("it is %+v", m)
		}
	})
}
