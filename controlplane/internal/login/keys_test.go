package login_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/login/logintest"
)

// publish has the provider publish keys as they are written.
func (d *desk) publish(keys ...map[string]any) {
	d.issuer.Instead("/keys", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(map[string]any{"keys": keys}); err != nil {
			d.t.Error(err)
		}
	})
}

// A key that the provider uses for something else has signed an ID token.
func TestKeysThatDoNotSignIDTokens(t *testing.T) {
	t.Parallel()
	rsa, ecdsa := logintest.NewKey(t, "k", "RS256"), logintest.NewKey(t, "k", "ES256")
	short := logintest.NewKey(t, "k", "RSA-1024")
	for what, test := range map[string]struct {
		key  logintest.Key
		with map[string]any
		good bool
	}{
		"as published":              {rsa, nil, true},
		"an elliptic one":           {ecdsa, nil, true},
		"nothing of its use":        {rsa, map[string]any{"use": nil, "alg": nil}, true},
		"to verify with":            {rsa, map[string]any{"key_ops": []string{"verify"}}, true},
		"for encryption":            {rsa, map[string]any{"use": "enc"}, false},
		"for encryption, EC":        {ecdsa, map[string]any{"use": "enc", "alg": nil}, false},
		"for encryption by its alg": {rsa, map[string]any{"use": nil, "alg": "RSA-OAEP"}, false},
		"of another algorithm":      {rsa, map[string]any{"alg": "PS256"}, false},
		"of a longer hash":          {rsa, map[string]any{"alg": "RS512"}, false},
		"of an algorithm for RSA":   {ecdsa, map[string]any{"alg": "RS256"}, false},
		"of a symmetric algorithm":  {rsa, map[string]any{"alg": "HS256"}, false},
		"for another operation":     {rsa, map[string]any{"key_ops": []string{"wrapKey"}}, false},
		"of a use that is no text":  {rsa, map[string]any{"use": []string{"sig"}}, false},
		"too short":                 {short, nil, false},
		"with its private part":     {rsa, map[string]any{"d": "AQAB"}, false},
	} {
		d := newDesk(t)
		d.publish(test.key.Published(test.with))
		token := test.key.Sign(d.with(nil))
		if !test.good {
			d.refuses(what, token)
		} else if _, err := d.verify(token); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Several keys have one name: the one that signs is found, wherever it stands, and no other counts.
func TestKeysOfOneName(t *testing.T) {
	t.Parallel()
	rsa, ecdsa := logintest.NewKey(t, "k", "RS256"), logintest.NewKey(t, "k", "ES256")
	other := logintest.NewKey(t, "k", "RS256")
	symmetric := map[string]any{"kty": "oct", "kid": "k", "alg": "HS256", "k": "c2VjcmV0"}
	enc := other.Published(map[string]any{"use": "enc", "alg": "RSA-OAEP"})
	sig := rsa.Published(nil)
	for _, keys := range [][]map[string]any{{symmetric, enc, sig}, {sig, enc, symmetric},
		{ecdsa.Published(map[string]any{"use": "enc"}), sig}} {
		d := newDesk(t)
		d.publish(keys...)
		if _, err := d.verify(rsa.Sign(d.with(nil))); err != nil {
			t.Errorf("%v: %v", keys, err)
		}
		d.refuses("another key of the name", other.Sign(d.with(nil)))
		d.refuses("another kind of key of the name", ecdsa.Sign(d.with(nil)))
	}
}
