package login_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/login"
	"github.com/understudy-db/understudy/controlplane/internal/login/logintest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// codeOf is an answer that gives a code, changed.
func codeOf(change map[string]any) http.HandlerFunc {
	all := map[string]any{"device_code": "d", "user_code": "ABCD", "expires_in": 60, "interval": 2,
		"verification_uri": "https://id.example/device"}
	for name, value := range change {
		all[name] = value
	}
	body, _ := json.Marshal(all)
	return says(200, string(body))
}

// refused wants that the provider cannot be used, for a reason with that word.
func (d *teller) refused(t *testing.T, what string, err error, word string) {
	t.Helper()
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_ISSUER_UNREACHABLE ||
		!strings.Contains(err.Error(), word) {
		t.Errorf("%s: %v, want %q", what, err, word)
	}
	d.quiet(t, what, err)
}

// What a provider gives for a code is shown to people and kept for a while: within bounds, or not
// at all.
func TestWhatAProviderGivesForACode(t *testing.T) {
	t.Parallel()
	d := newTeller(t, login.AuthBasic)
	long := strings.Repeat("x", 3000)
	for what, change := range map[string]map[string]any{
		"no device code": {"device_code": ""}, "no code": {"user_code": ""},
		"a long device code": {"device_code": long + long},
		"a long code":        {"user_code": long[:101]},
		"a long address":     {"verification_uri": "https://id.example/" + long},
		"no address":         {"verification_uri": ""},
		"an open address":    {"verification_uri": "http://id.example/device"},
		"a hidden code":      {"user_code": "\u202e\u200b"},
	} {
		d.issuer.Instead("/device/code", codeOf(change))
		_, err := d.Begin(t.Context(), "n")
		d.refused(t, what, err, "it gave no code")
	}
	d.issuer.Instead("/device/code", codeOf(map[string]any{"pad": strings.Repeat("x", 300<<10)}))
	_, err := d.Begin(t.Context(), "n")
	d.refused(t, "a long answer", err, "longer than 262144 bytes")
	for _, test := range []struct {
		change map[string]any
		holds  func(login.Code) bool
	}{
		{map[string]any{"expires_in": 1e9}, func(c login.Code) bool {
			return time.Until(c.Ends) <= 30*time.Minute
		}},
		{map[string]any{"interval": 0.001}, func(c login.Code) bool {
			return c.Pause == time.Second
		}},
		{map[string]any{"interval": 1e6}, func(c login.Code) bool {
			return c.Pause == time.Minute
		}},
		{map[string]any{"interval": nil}, func(c login.Code) bool {
			return c.Pause == 5*time.Second
		}},
		{map[string]any{"user_code": "A\x1b[31mB"}, func(c login.Code) bool {
			return c.User == "A[31mB"
		}},
		{map[string]any{"verification_uri_complete": "http://id.example/"},
			func(c login.Code) bool { return c.Whole == "" }},
		{map[string]any{"verification_uri_complete": "https://id.example/" + long},
			func(c login.Code) bool { return c.Whole == "" }},
		{map[string]any{"verification_uri_complete": "https://id.example/?c"},
			func(c login.Code) bool { return c.Whole == "https://id.example/?c" }},
	} {
		d.issuer.Instead("/device/code", codeOf(test.change))
		if code, err := d.Begin(t.Context(), "n"); err != nil || !test.holds(code) {
			t.Errorf("%v: %+v, %v", test.change, code, err)
		}
	}
}

// plain is a secret in the letters of an ID token, whose base64 is another one for addresses.
const plain = "q~~~s3cr3t???"

// The secret is known in each place of an answer, and in each spelling.
func TestTheSecretIsKnownInEachSpelling(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{hush, plain} {
		d := newTeller(t, login.AuthBasic)
		d.issuer.Guard(nil)
		file := write(t, secret)
		d.Login = d.anew(t, func(c *login.Config) { c.SecretFile = file })
		quoted := strconv.Quote(secret)
		spellings := []string{secret, url.QueryEscape(secret), url.PathEscape(secret),
			quoted[1 : len(quoted)-1]}
		for _, text := range []string{secret, logintest.ClientID + ":" + secret,
			logintest.ClientID + ":" + url.QueryEscape(secret)} {
			spellings = append(spellings, base64.StdEncoding.EncodeToString([]byte(text)),
				base64.URLEncoding.EncodeToString([]byte(text)))
		}
		for _, spelt := range spellings {
			for _, change := range []map[string]any{{"device_code": "x" + spelt},
				{"user_code": spelt}, {"verification_uri": "https://id.example/" + spelt},
				{"verification_uri_complete": "https://id.example/" + spelt}} {
				d.issuer.Instead("/device/code", codeOf(change))
				code, err := d.Begin(t.Context(), "n")
				if err == nil || !strings.Contains(err.Error(), "has the client's secret in it") {
					t.Errorf("%v: %+v, %v", change, code, err)
				}
			}
		}
	}
}

// anew is the desk's login, made with other settings.
func (d *desk) anew(t *testing.T, change func(*login.Config)) *login.Login {
	t.Helper()
	config := login.Config{Issuer: d.issuer.URL, ClientID: logintest.ClientID,
		GroupsFile: write(t, groupsFile), Spacing: time.Nanosecond}
	change(&config)
	made, err := login.New(config)
	must(t, err)
	return made
}

func TestATokenWithTheSecretInIt(t *testing.T) {
	t.Parallel()
	d := newTeller(t, login.AuthBasic)
	d.issuer.Guard(nil)
	encode := base64.RawURLEncoding.EncodeToString
	file := write(t, "s3cr3t_of-letters")
	d.Login = d.anew(t, func(c *login.Config) { c.SecretFile = file })
	for what, token := range map[string]string{
		"as it is":        "eyJ9.s3cr3t_of-letters.AAAA",
		"encoded":         "eyJ9." + encode([]byte("not JSON: s3cr3t_of-letters")) + ".AAAA",
		"in a claim":      "eyJ9." + encode([]byte(`{"x": "s3cr3t_of-letter\u0073"}`)) + ".AAAA",
		"in the header":   encode([]byte(`{"kid": "s3cr3t_of-letters"}`)) + ".e30.AAAA",
		"in its spelling": "eyJ9.e30.AAAA s3cr3t_of-letters",
		"no token":        "eyJ9.e30 AAAA",
	} {
		body, _ := json.Marshal(map[string]string{"id_token": token})
		d.issuer.Instead("/token", says(200, string(body)))
		got, err := d.Exchange(t.Context(), "device-secret")
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_ISSUER_UNREACHABLE {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
		d.quiet(t, what, err)
	}
}

// Nothing that is led to elsewhere is followed, the keys and the configuration neither, and where
// it leads is not told.
func TestNoRedirectIsFollowed(t *testing.T) {
	t.Parallel()
	asked := 0
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		codeOf(nil)(w, nil)
	}))
	defer other.Close()
	d := newTeller(t, login.AuthPost)
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{other.URL + "/else-where", "/else-where",
			"http://id.example/else-where"} {
			for _, path := range []string{"/device/code", "/token"} {
				d.issuer.Instead(path, func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, to, status)
				})
			}
			_, begin := d.Begin(t.Context(), "n")
			_, exchange := d.Exchange(t.Context(), "device-secret")
			for _, err := range []error{begin, exchange} {
				d.refused(t, to, err, "cannot be used: it ")
				if strings.Contains(err.Error(), "else-where") {
					t.Errorf("where it leads is told: %v", err)
				}
			}
			if d.issuer.Hits("/else-where") > 0 || asked > 0 {
				t.Fatalf("%d to %s is followed", status, to)
			}
		}
	}
	for _, path := range []string{discovery, "/keys"} {
		d := newDesk(t)
		d.issuer.Instead(path, leads(other.URL))
		d.unreachable("a redirect of "+path, d.key.Sign(d.with(nil)))
		if asked > 0 {
			t.Fatalf("%s is followed", path)
		}
	}
}

// Whatever fails, no word of the provider's is passed on: it knows the secret.
func TestAFailureTellsNothingOfTheProvider(t *testing.T) {
	t.Parallel()
	raw := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = conn.Write([]byte(text))
				_ = conn.Close()
			}
		}
	}
	d := newTeller(t, login.AuthBasic)
	for what, handler := range map[string]http.HandlerFunc{
		"no HTTP":         raw(hush + "\r\n\r\n"),
		"a status":        raw("HTTP/1.1 " + hush + " x\r\n\r\n"),
		"a header":        raw("HTTP/1.1 200 OK\r\n" + hush + "\r\n\r\n"),
		"a length":        raw("HTTP/1.1 200 OK\r\nContent-Length: " + hush + "\r\n\r\n"),
		"a chunk":         raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + hush),
		"an encoding":     raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + hush + "\r\n\r\n"),
		"another failure": says(500, `{"error": "access_denied"}`),
	} {
		d.issuer.Instead("/device/code", handler)
		_, err := d.Begin(t.Context(), "n")
		d.refused(t, what, err, "cannot be used: it")
	}
	const name = "s3cr3t-name"
	for _, address := range []string{"https://127.0.0.1:1/" + name,
		"https://" + name + ".invalid/"} {
		d := newTeller(t, login.AuthBasic)
		file := write(t, name)
		d.issuer.Guard(nil)
		d.Login = d.anew(t, func(c *login.Config) { c.SecretFile = file })
		d.issuer.Instead(discovery, says(200, fmt.Sprintf(`{"issuer": %q, "jwks_uri": %q,
			"device_authorization_endpoint": %q}`, d.issuer.URL, d.issuer.URL+"/keys", address)))
		_, err := d.Begin(t.Context(), "n")
		d.refused(t, address, err, "cannot be used")
	}
	// What is published is read without the secret, of one who may have got it.
	d = newTeller(t, login.AuthBasic)
	issuer, _ := json.Marshal(hush)
	d.issuer.Instead(discovery, says(200, `{"issuer": `+string(issuer)+`}`))
	_, err := d.Begin(t.Context(), "n")
	d.refused(t, "another issuer", err, "has the client's secret in it")
}

// The secret is not sent in the open, and a file that went is not named to who logs in.
func TestTheSecretStaysWhereItIs(t *testing.T) {
	t.Parallel()
	d := newTeller(t, login.AuthBasic)
	document := fmt.Sprintf(`{"issuer": %q, "jwks_uri": %q, "token_endpoint": "http://id.example/",
		"device_authorization_endpoint": "http://id.example/"}`, d.issuer.URL,
		d.issuer.URL+"/keys")
	d.issuer.Instead(discovery, says(200, document))
	_, err := d.Begin(t.Context(), "n")
	d.refused(t, "an open address", err, "is not https")
	d = newTeller(t, login.AuthBasic)
	file := write(t, hush)
	d.Login = d.anew(t, func(c *login.Config) { c.SecretFile = file })
	must(t, os.Remove(file))
	_, err = d.Begin(t.Context(), "n")
	d.refused(t, "no file", err, "cannot read the client's secret")
	if strings.Contains(err.Error(), file) {
		t.Errorf("the file is named: %v", err)
	}
	if d.issuer.Hits("/device/code") > 0 {
		t.Error("asked without the secret")
	}
	_, err = login.New(login.Config{Issuer: "https://id.example", ClientID: "u",
		GroupsFile: write(t, groupsFile), SecretFile: write(t, "sécret")})
	if err == nil || !strings.Contains(err.Error(), "line of ASCII") {
		t.Errorf("a secret that no provider gives: %v", err)
	}
}
