package login_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-db/understudy/controlplane/internal/login"
	"github.com/understudy-db/understudy/controlplane/internal/login/logintest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const groupsFile = `groups:
  - {group: dba, role: admin}
  - {group: shop, role: operator, servers: ["shop-*"]}
  - {group: web, role: operator, servers: ["web-*"]}
  - {group: all, role: operator}
  - {group: everybody, role: viewer}
`

// desk is a control plane's side of logins, and its provider.
type desk struct {
	*login.Login
	t      *testing.T
	issuer *logintest.Issuer
	key    logintest.Key
	// proved is the key that the caller proves.
	proved []byte
}

func newDesk(t *testing.T, change ...func(*login.Config)) *desk {
	t.Helper()
	d := &desk{t: t, key: logintest.NewKey(t, "k1", "RS256")}
	d.issuer = logintest.New(t, d.key)
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	d.proved, err = x509.MarshalPKIXPublicKey(&own.PublicKey)
	must(t, err)
	config := login.Config{Issuer: d.issuer.URL, ClientID: logintest.ClientID,
		GroupsFile: write(t, groupsFile), Spacing: time.Nanosecond,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, do := range change {
		do(&config)
	}
	d.Login, err = login.New(config)
	must(t, err)
	return d
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "groups.yaml")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// with are the claims of a good ID token but for what the change does.
func (d *desk) with(change func(map[string]any)) map[string]any {
	claims := d.issuer.Claims("alice", "dba")
	if change != nil {
		change(claims)
	}
	return claims
}

func (d *desk) verify(token string) (login.Verified, error) {
	return d.Verify(d.t.Context(), token, d.proved)
}

func (d *desk) refuses(what, token string) {
	d.t.Helper()
	v, err := d.verify(token)
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_ID_TOKEN_REFUSED ||
		errs.HintOf(err).String() == "" || len(err.Error()) > 500 {
		d.t.Errorf("%s: %v, %v", what, v, err)
	}
}

func TestAGoodTokenIsTaken(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ec := logintest.NewKey(t, "k2", "ES256")
	d.issuer.Publish(d.key, ec)
	good := map[string]func(map[string]any){
		"plain":     nil,
		"audiences": func(c map[string]any) { c["aud"] = []string{"understudy"} },
		"authorized party": func(c map[string]any) {
			c["aud"], c["azp"] = []string{"x", "understudy"}, "understudy"
		},
		"nonce of the key": func(c map[string]any) { c["nonce"] = login.Nonce(d.proved) },
		"clock a bit behind": func(c map[string]any) {
			c["iat"] = time.Now().Add(40 * time.Second).Unix()
		},
		"clock a bit ahead": func(c map[string]any) {
			c["exp"] = time.Now().Add(-40 * time.Second).Unix()
		},
		"verified as a text": func(c map[string]any) { c["email_verified"] = "true" },
		"without a name":     func(c map[string]any) { delete(c, "email") },
		"times with fractions": func(c map[string]any) {
			c["iat"] = float64(time.Now().UnixMilli()) / 1000
		},
		"an ID token by its type": func(c map[string]any) { c["typ"] = "ID" },
	}
	for what, change := range good {
		for _, key := range []logintest.Key{d.key, ec} {
			v, err := d.verify(key.Sign(d.with(change)))
			if err != nil || v.Person.Subject != "alice" || v.Person.Issuer != d.issuer.URL ||
				!slices.Equal(v.Groups, []string{"dba"}) {
				t.Errorf("%s: %+v, %v", what, v, err)
			}
		}
	}
}

func TestABadTokenIsRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	stranger := logintest.NewKey(t, "k1", "RS256")
	set := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	gone := func(name string) func(map[string]any) {
		return func(c map[string]any) { delete(c, name) }
	}
	moved := func(from, to string) func(map[string]any) {
		return func(c map[string]any) { c[to] = c[from]; delete(c, from) }
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for what, change := range map[string]func(map[string]any){
		"another issuer":             set("iss", "https://evil.example"),
		"the issuer and a slash":     set("iss", d.issuer.URL+"/"),
		"no issuer":                  gone("iss"),
		"another client":             set("aud", "other"),
		"other clients":              set("aud", []string{"other", "another"}),
		"no client":                  gone("aud"),
		"a client in another case":   moved("aud", "AUD"),
		"an issuer in another case":  moved("iss", "ISS"),
		"asked for by another":       set("azp", "other"),
		"asked for by a number":      set("azp", 7),
		"several clients, no party":  set("aud", []string{"understudy", "other"}),
		"expired":                    set("exp", in(-2*time.Minute)),
		"no end":                     gone("exp"),
		"an end that is a text":      set("exp", "tomorrow"),
		"an end that is far":         set("exp", 1e300),
		"an end that is negative":    set("exp", -1),
		"made later":                 set("iat", in(2*time.Minute)),
		"made long ago":              set("iat", in(-20*time.Minute)),
		"never made":                 gone("iat"),
		"valid later":                set("nbf", in(2*time.Minute)),
		"of another key":             set("nonce", "c29tZXRoaW5n"),
		"an empty nonce":             set("nonce", ""),
		"a nonce that is a number":   set("nonce", 5),
		"nobody":                     gone("sub"),
		"an empty subject":           set("sub", ""),
		"a subject that is a number": set("sub", 5),
		"a subject of two lines":     set("sub", "alice\nadmin"),
		"a subject with direction":   set("sub", "alice\u202e"),
		"a long subject":             set("sub", strings.Repeat("a", 256)),
		"half a character":           set("sub", "alice\ufffd"), // stands for many subjects
		"an address nobody verified": set("email_verified", false),
		"an address, verified maybe": gone("email_verified"),
		"an address, verified 1":     set("email_verified", 1),
		"no address": func(c map[string]any) {
			c["email"], c["email_verified"] = "root", false
		},
		"an access token": set("typ", "Bearer"),
		"a refresh token": set("typ", "Refresh"),
		"a logout token": set("events", map[string]any{
			"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}),
		"groups that are numbers": set("groups", []int{1}),
		"groups by name":          set("groups", map[string]bool{"dba": true}),
		"too many groups":         set("groups", slices.Repeat([]string{"dba"}, 3000)),
	} {
		d.refuses(what, d.key.Sign(d.with(change)))
	}
	claims := d.with(nil)
	for what, header := range map[string]map[string]any{
		"no algorithm":        {"kid": "k1"},
		"none":                {"alg": "none", "kid": "k1"},
		"None":                {"alg": "None", "kid": "k1"},
		"HS256":               {"alg": "HS256", "kid": "k1"},
		"RS512":               {"alg": "RS512", "kid": "k1"},
		"ES256 of an RSA key": {"alg": "ES256", "kid": "k1"},
		"another key's name":  {"alg": "RS256", "kid": "k9"},
		"an access token":     {"alg": "RS256", "kid": "k1", "typ": "at+jwt"},
		"a logout token":      {"alg": "RS256", "kid": "k1", "typ": "logout+jwt"},
		"a type of no text":   {"alg": "RS256", "kid": "k1", "typ": 1},
		"a critical header":   {"alg": "RS256", "kid": "k1", "crit": []string{"x"}, "x": 1},
	} {
		d.refuses(what, d.key.SignAs(header, claims))
	}
	good := d.key.Sign(claims)
	parts, bob := strings.Split(good, "."), stranger.Sign(d.with(set("sub", "bob")))
	for what, token := range map[string]string{
		"nothing": "", "dots": "..", "no token": "a.b.c", "blank": " ",
		"not signed":      parts[0] + "." + parts[1] + ".",
		"two parts":       parts[0] + "." + parts[1],
		"four parts":      good + "." + parts[2],
		"a line break":    good + "\n",
		"padding":         good + "==",
		"another's key":   stranger.Sign(claims),
		"a changed claim": parts[0] + "." + strings.Split(bob, ".")[1] + "." + parts[2],
		"JSON serialization": `{"payload":"` + parts[1] + `","protected":"` + parts[0] +
			`","signature":"` + parts[2] + `"}`,
		"a key of its own": stranger.SignAs(map[string]any{"alg": "RS256", "jwk": map[string]string{
			"kty": "RSA", "n": "AQAB", "e": "AQAB"}}, claims),
		"claims that are no object": parts[0] + "." + base64.RawURLEncoding.EncodeToString(
			[]byte(`[1]`)) + "." + parts[2],
	} {
		d.refuses(what, token)
	}
	if _, err := d.verify(good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// A claim in another case is another claim. The library, and Go's JSON, take one for the other.
func TestAClaimInAnotherCaseIsAnotherClaim(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	v, err := d.verify(d.key.Sign(d.with(func(c map[string]any) {
		maps.Copy(c, map[string]any{"Sub": "root", "Groups": []string{"x"}, "gROUPS": []string{"y"},
			"zub": 1, "suB": "bob", "EMAIL": "root@example.com", "Email_Verified": false})
	})))
	if err != nil || v.Person.Subject != "alice" || v.Person.Shown != "alice@example.com" ||
		!slices.Equal(v.Groups, []string{"dba"}) {
		t.Errorf("%+v, %v", v, err)
	}
}

// A token has other spellings that are good as well. They are one token.
func TestATokenIsOneInEverySpelling(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ec := logintest.NewKey(t, "k2", "ES256")
	d.issuer.Publish(ec)
	token := ec.Sign(d.with(nil))
	first, err := d.verify(token)
	must(t, err)
	other := logintest.Respelt(t, token)
	second, err := d.verify(other)
	must(t, err)
	if other == token || first.Hash != second.Hash {
		t.Error("two spellings are two tokens")
	}
	next := d.with(nil)
	next["jti"] = "2"
	third, err := d.verify(ec.Sign(next))
	if err != nil || third.Hash == first.Hash {
		t.Errorf("two tokens are one: %v", err)
	}
}

// A login ends with the ID token, or when the setting says, and always with the session.
func TestHowLongALoginLasts(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	for _, test := range []struct {
		setting, token, session, want time.Duration
	}{
		{0, time.Hour, 0, time.Hour},
		{0, time.Hour, 20 * time.Minute, 20 * time.Minute},
		{0, time.Hour, 8 * time.Hour, time.Hour},
		{8 * time.Hour, 5 * time.Minute, 0, 8 * time.Hour},
		{8 * time.Hour, 5 * time.Minute, 3 * time.Hour, 3 * time.Hour},
	} {
		d := newDesk(t, func(c *login.Config) {
			c.Session, c.Now = test.setting, func() time.Time { return now }
		})
		v, err := d.verify(d.key.Sign(d.with(func(c map[string]any) {
			c["iat"], c["exp"] = now.Unix(), now.Add(test.token).Unix()
			if test.session > 0 {
				c["session_expiry"] = now.Add(test.session).Unix()
			}
		})))
		if got := v.Ends.Sub(now); err != nil || got != test.want {
			t.Errorf("%+v: %s, %v", test, got, err)
		}
	}
}

// What is shown of a person is one clean line.
func TestAHostileNameIsClean(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *login.Config) { c.NameClaim = "name" })
	for name, want := range map[string]string{
		"Alice":                   "Alice",
		"Älice Ünder":             "Älice Ünder",
		"\x1b[31mroot\x1b[0m":     "[31mroot[0m",
		"root\nlogin: admin":      "root login: admin",
		"\u202etoor":              "toor",
		"ann\u3164\u115f\ufe0f":   "ann",
		" \t ":                    "alice",
		"":                        "alice",
		strings.Repeat("é", 5000): strings.Repeat("é", 100),
		"$(reboot)`'\"":           "$(reboot)`'\"",
	} {
		v, err := d.verify(d.key.Sign(d.with(func(c map[string]any) { c["name"] = name })))
		if err != nil || v.Person.Shown != want {
			t.Errorf("%q is shown as %q, %v", name, v.Person.Shown, err)
		}
	}
	d.refuses("an address in another claim", d.key.Sign(d.with(func(c map[string]any) {
		c["name"] = "root@example.com"
		delete(c, "email_verified")
	})))
}

func TestSettingsThatCannotBe(t *testing.T) {
	t.Parallel()
	good := write(t, groupsFile)
	for _, config := range []login.Config{
		{},
		{Issuer: "http://id.example", ClientID: "u", GroupsFile: good},
		{Issuer: "https://a:b@id.example", ClientID: "u", GroupsFile: good},
		{Issuer: "https://id.example#x", ClientID: "u", GroupsFile: good},
		{Issuer: "file:///etc/passwd", ClientID: "u", GroupsFile: good},
		{Issuer: "https://id.example", GroupsFile: good},
		{Issuer: "https://id.example", ClientID: "u"},
		{Issuer: "https://id.example", ClientID: "u", GroupsFile: write(t, "")},
		{Issuer: "https://id.example", ClientID: "u", GroupsFile: good, Scopes: []string{"x"}},
	} {
		if _, err := login.New(config); err == nil {
			t.Errorf("%+v is taken", config)
		}
	}
	if _, err := login.New(login.Config{Issuer: "https://id.example", ClientID: "u",
		GroupsFile: good}); err != nil {
		t.Error(err) // though nobody answers there
	}
}
