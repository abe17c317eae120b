package login

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/coreos/go-oidc/v3/oidc"
)

// leastRSA is how many bytes the modulus of a key for RS256 has at least (RFC 7518, 3.3).
const leastRSA = 2048 / 8

// signing passes on, of the keys that the provider publishes, those that sign ID tokens. The
// library takes any key of the name in a token that its signature fits: also one that the provider
// uses for something else, for which others may have it sign what they like.
type signing struct{ next http.RoundTripper }

// RoundTrip makes the request.
func (s signing) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, err := s.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	published, err := io.ReadAll(answer.Body) // which is bounded
	if err != nil {
		return nil, err
	}
	kept := signingKeys(published)
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(kept)), int64(len(kept))
	answer.Header.Set("Content-Length", strconv.Itoa(len(kept)))
	return answer, nil
}

// signingKeys is a key set with those keys alone that sign ID tokens. What is no key set is left to
// the library, which refuses it.
func signingKeys(published []byte) []byte {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(published, &set) != nil || set.Keys == nil {
		return published
	}
	set.Keys = slices.DeleteFunc(set.Keys, func(key json.RawMessage) bool { return !signs(key) })
	kept, err := json.Marshal(set)
	if err != nil {
		return published
	}
	return kept
}

// signs says whether a key (RFC 7517) is a public one for RS256 or ES256. What it does not say of
// itself is not held against it, but for its kind and its size.
func signs(raw json.RawMessage) bool {
	var key claims
	if json.Unmarshal(raw, &key) != nil {
		return false
	}
	alg, fits := "", false
	switch key.text("kty") {
	case "RSA":
		modulus, err := base64.RawURLEncoding.DecodeString(key.text("n"))
		alg, fits = oidc.RS256, err == nil && len(bytes.TrimLeft(modulus, "\x00")) >= leastRSA
	case "EC":
		alg, fits = oidc.ES256, key.text("crv") == "P-256"
	}
	_, private := key["d"]
	return fits && !private && key.saysNothingBut("use", "sig") &&
		key.saysNothingBut("alg", alg) && key.verifies()
}

// saysNothingBut says whether the key has no such member, or has that text in it.
func (c claims) saysNothingBut(member, text string) bool {
	_, says := c[member]
	return !says || c.text(member) == text
}

// verifies says whether signatures may be verified with the key, by its operations.
func (c claims) verifies() bool {
	if _, says := c["key_ops"]; !says {
		return true
	}
	operations, err := c.list("key_ops")
	return err == nil && slices.Contains(operations, "verify")
}
