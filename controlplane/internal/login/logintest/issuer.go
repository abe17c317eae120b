// Package logintest is an identity provider for tests, which does whatever a test has it do.
package logintest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// ClientID is the client that its ID tokens are for.
const ClientID = "understudy"

// Key is a key that it signs with.
type Key struct {
	// ID is the key's name in tokens and in what is published.
	ID     string
	signer crypto.Signer
}

// NewKey makes a key for RS256, for ES256, or a short one for RS256 when it is "RSA-1024".
func NewKey(t testing.TB, id, alg string) Key {
	t.Helper()
	var signer crypto.Signer
	var err error
	if alg == "ES256" {
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		signer, err = rsa.GenerateKey(rand.Reader, map[bool]int{false: 2048,
			true: 1024}[alg == "RSA-1024"])
	}
	if err != nil {
		t.Fatal(err)
	}
	return Key{ID: id, signer: signer}
}

// Alg is the algorithm of the key.
func (k Key) Alg() string {
	if _, ok := k.signer.(*rsa.PrivateKey); ok {
		return "RS256"
	}
	return "ES256"
}

// Published is what is published of the key, with other members; those that are nil are left out.
func (k Key) Published(with map[string]any) map[string]any {
	all := map[string]any{}
	for name, value := range k.public() {
		all[name] = value
	}
	for name, value := range with {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

// Issuer is the provider.
type Issuer struct {
	*httptest.Server

	mu        sync.Mutex
	published []Key
	hits      map[string]int
	instead   map[string]http.HandlerFunc
	device    Device
	guard     func(*http.Request) bool
}

// Device is how its device flow goes.
type Device struct {
	// Claims are those of the ID token that it ends with.
	Claims map[string]any
	// Key signs it.
	Key Key
	// Answers come before it, one a poll: an error of RFC 8628, or a status and any text.
	Answers []Answer
	// ExpiresIn and Interval are in seconds.
	ExpiresIn, Interval int
	// Nonce is whether the ID token has the nonce of the request.
	Nonce bool

	nonce string
}

// Answer is one of the token endpoint.
type Answer struct {
	// Status is that of HTTP.
	Status int
	// Body is what is in it.
	Body string
}

// Pending is the answer while nobody has confirmed the code.
func Pending() Answer { return Refuses("authorization_pending") }

// Refuses is an answer with an error of RFC 8628.
func Refuses(code string) Answer {
	return Answer{http.StatusBadRequest, fmt.Sprintf(`{"error": %q}`, code)}
}

// New starts one that publishes the keys.
func New(t testing.TB, keys ...Key) *Issuer {
	t.Helper()
	i := &Issuer{published: keys, hits: map[string]int{}, instead: map[string]http.HandlerFunc{}}
	i.Server = httptest.NewServer(http.HandlerFunc(i.serve))
	t.Cleanup(i.Close)
	return i
}

// Instead has a path answer with something else; with what it was again when nil.
func (i *Issuer) Instead(path string, handler http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.instead[path] = handler
}

// Publish has it publish other keys.
func (i *Issuer) Publish(keys ...Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.published = keys
}

// Flow sets how the device flow goes.
func (i *Issuer) Flow(d Device) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.device = d
}

// Guard has the device flow refuse requests of another client.
func (i *Issuer) Guard(knows func(*http.Request) bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.guard = knows
}

// Hits is how often a path was asked for.
func (i *Issuer) Hits(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.hits[path]
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.hits[r.URL.Path]++
	instead, guard := i.instead[r.URL.Path], i.guard
	i.mu.Unlock()
	if flow := r.URL.Path == "/token" || r.URL.Path == "/device/code"; flow && guard != nil &&
		!guard(r) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error": "invalid_client"}`))
		return
	}
	if instead != nil {
		instead(w, r)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys",
			"authorization_endpoint": i.URL + "/auth", "token_endpoint": i.URL + "/token",
			"device_authorization_endpoint":         i.URL + "/device/code",
			"id_token_signing_alg_values_supported": []string{"RS256", "ES256", "HS256", "none"}})
	case "/keys":
		i.mu.Lock()
		defer i.mu.Unlock()
		var all []map[string]string
		for _, key := range i.published {
			all = append(all, key.public())
		}
		answer(w, map[string]any{"keys": all})
	case "/device/code":
		i.begin(w, r)
	case "/token":
		i.poll(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (i *Issuer) begin(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.device.nonce = r.FormValue("nonce")
	answer(w, map[string]any{"device_code": "device-secret", "user_code": "ABCD-EFGH",
		"verification_uri":          i.URL + "/device",
		"verification_uri_complete": i.URL + "/device?user_code=ABCD-EFGH",
		"expires_in":                i.device.ExpiresIn, "interval": i.device.Interval})
}

func (i *Issuer) poll(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if r.FormValue("device_code") != "device-secret" {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error": "invalid_grant"}`))
		return
	}
	if len(i.device.Answers) > 0 {
		first := i.device.Answers[0]
		i.device.Answers = i.device.Answers[1:]
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(first.Status)
		_, _ = w.Write([]byte(first.Body))
		return
	}
	claims := maps.Clone(i.device.Claims)
	if i.device.Nonce {
		claims["nonce"] = i.device.nonce
	}
	answer(w, map[string]any{"access_token": "access-secret", "token_type": "Bearer",
		"id_token": i.device.Key.Sign(claims)})
}

// Claims are those of a good ID token about somebody in those groups.
func (i *Issuer) Claims(subject string, groups ...string) map[string]any {
	now := time.Now()
	return map[string]any{"iss": i.URL, "sub": subject, "aud": ClientID,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "groups": groups,
		"email": subject + "@example.com", "email_verified": true}
}

func answer(w http.ResponseWriter, what any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(what)
}

func (k Key) public() map[string]string {
	switch public := k.signer.Public().(type) {
	case *rsa.PublicKey:
		return map[string]string{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": k.ID,
			"n": encode(public.N.Bytes()), "e": encode(big.NewInt(int64(public.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4, then both numbers
		if err != nil {
			panic(err)
		}
		return map[string]string{"kty": "EC", "use": "sig", "alg": "ES256", "kid": k.ID,
			"crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])}
	}
	return nil
}

// Sign makes a token of claims.
func (k Key) Sign(claims map[string]any) string {
	return k.SignAs(map[string]any{"alg": k.Alg(), "kid": k.ID, "typ": "JWT"}, claims)
}

// SignAs makes a token with another header.
func (k Key) SignAs(header, claims map[string]any) string {
	signed := part(header) + "." + part(claims)
	return signed + "." + encode(k.signature([]byte(signed)))
}

func (k Key) signature(signed []byte) []byte {
	sum := sha256.Sum256(signed)
	switch key := k.signer.(type) {
	case *rsa.PrivateKey:
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			panic(err)
		}
		return signature
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			panic(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	return nil
}

// Respelt is a token with the other signature that an ES256 one has: both are good.
func Respelt(t testing.TB, token string) string {
	t.Helper()
	at := strings.LastIndex(token, ".") + 1
	raw, err := base64.RawURLEncoding.DecodeString(token[at:])
	if err != nil || len(raw) != 64 {
		t.Fatalf("no signature of ES256: %v", err)
	}
	other := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(raw[32:]))
	return token[:at] + encode(append(raw[:32:32], other.FillBytes(make([]byte, 32))...))
}

func part(of map[string]any) string {
	raw, err := json.Marshal(of)
	if err != nil {
		panic(err)
	}
	return encode(raw)
}

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }
