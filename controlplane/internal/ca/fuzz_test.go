package ca

import "testing"

// FuzzFiles reads keys, certificates and tokens that are not ours: an error, or one of them.
func FuzzFiles(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))
	f.Add([]byte("0000000000000\n000000000000000000000\n000000000"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if key, err := parseKey("f", data); err == nil && key == nil {
			t.Error("no key, and no error")
		}
		if cert, err := parseCertificate(data); err == nil && cert == nil {
			t.Error("no certificate, and no error")
		}
		if wellFormed(string(data)) && len(data) != 43 {
			t.Errorf("%q is well formed", data)
		}
	})
}
