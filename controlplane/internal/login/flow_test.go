package login_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/login"
	"github.com/understudy-db/understudy/controlplane/internal/login/logintest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// hush is a secret with characters that each way spells otherwise.
const hush = `s3cr3t+/ "%&x`

// teller is a desk whose client has a secret, and what it logs.
type teller struct {
	*desk
	log *bytes.Buffer
}

func newTeller(t *testing.T, auth login.ClientAuth) *teller {
	t.Helper()
	log := &bytes.Buffer{}
	d := newDesk(t, func(c *login.Config) {
		c.SecretFile, c.Auth = write(t, hush+"\n"), auth
		c.Logger = slog.New(slog.NewTextHandler(log, nil))
	})
	d.issuer.Guard(func(r *http.Request) bool {
		id, secret, basic := r.BasicAuth()
		inForm := r.FormValue("client_secret")
		if auth == login.AuthPost {
			return !basic && r.FormValue("client_id") == logintest.ClientID && inForm == hush
		}
		return basic && inForm == "" && id == logintest.ClientID && secret == url.QueryEscape(hush)
	})
	d.issuer.Flow(logintest.Device{Claims: d.issuer.Claims("alice", "dba"), Key: d.key,
		Answers: []logintest.Answer{logintest.Pending()}, ExpiresIn: 60, Interval: 1, Nonce: true})
	return &teller{desk: d, log: log}
}

// quiet wants that nothing of the secret is in an error, its hint or the log.
func (d *teller) quiet(t *testing.T, what string, err error) {
	t.Helper()
	said := fmt.Sprint(err, errs.HintOf(err), errs.FieldsOf(err)) + d.log.String()
	for _, spelt := range []string{hush, url.QueryEscape(hush), url.PathEscape(hush),
		base64.StdEncoding.EncodeToString([]byte(logintest.ClientID + ":" + hush)), "s3cr3t"} {
		if strings.Contains(said, spelt) {
			t.Errorf("%s: the secret is in %q", what, said)
		}
	}
}

// The control plane gets the token, with the secret shown either way.
func TestAClientWithASecret(t *testing.T) {
	t.Parallel()
	for _, auth := range []login.ClientAuth{login.AuthBasic, login.AuthPost} {
		d := newTeller(t, auth)
		code, err := d.Begin(t.Context(), login.Nonce(d.proved))
		if err != nil || code.User != "ABCD-EFGH" || code.Pause != time.Second ||
			time.Until(code.Ends) > time.Minute {
			t.Fatalf("%s: %v, %v", auth, code, err)
		}
		if got, err := d.Exchange(t.Context(), code.Device); err != nil || got.IDToken != "" {
			t.Errorf("%s: before it is confirmed: %v, %v", auth, got, err)
		}
		// Who does not have the device code gets nothing.
		for _, other := range []string{"", "x", code.User, strings.ToUpper(code.Device)} {
			_, err := d.Exchange(t.Context(), other)
			if errs.KindOf(err) != errs.PermissionDenied {
				t.Errorf("%s: another code: %v", auth, err)
			}
		}
		got, err := d.Exchange(t.Context(), code.Device)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Verify(t.Context(), got.IDToken, d.proved); err != nil {
			t.Errorf("%s: its token: %v", auth, err)
		}
	}
}

// unusable wants the error of a provider that cannot be used, without the secret.
func (d *teller) unusable(t *testing.T, what string) {
	t.Helper()
	_, begin := d.Begin(t.Context(), "n")
	_, exchange := d.Exchange(t.Context(), "device-secret")
	for _, err := range []error{begin, exchange} {
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_ISSUER_UNREACHABLE {
			t.Errorf("%s: %v", what, err)
		}
		d.quiet(t, what, err)
	}
}

// What the provider answers in bad faith reaches nobody: its addresses, its texts, its tokens.
func TestAProviderThatEchoesTheSecret(t *testing.T) {
	t.Parallel()
	basic := base64.StdEncoding.EncodeToString([]byte(logintest.ClientID + ":" + hush))
	escaped := `s3cr3t+/ \u0022%&x`
	for what, handler := range map[string]http.HandlerFunc{
		"an error": says(400, `{"error": "`+escaped+`", "error_description": "`+escaped+`"}`),
		"a page":   says(500, hush),
		"a code":   says(200, `{"device_code": "`+escaped+`", "user_code": "u"}`),
		"an address": says(200, `{"device_code": "d", "user_code": "u", `+
			`"verification_uri": "https://x/`+url.QueryEscape(hush)+`"}`),
		"a header": says(200, `{"device_code": "d", "user_code": "`+basic+`", `+
			`"verification_uri": "https://x/"}`),
		"no JSON":     says(200, `{"id_token": `+hush),
		"a redirect":  leads("/elsewhere?secret=" + url.QueryEscape(hush)),
		"one to http": leads("http://id.example/" + url.PathEscape(hush)),
		"too much":    says(200, `{"x": "`+strings.Repeat("x", 300<<10)+`"}`),
	} {
		d := newTeller(t, login.AuthBasic)
		d.issuer.Instead("/device/code", handler)
		d.issuer.Instead("/token", handler)
		d.unusable(t, what)
		if d.issuer.Hits("/elsewhere") > 0 {
			t.Errorf("%s is followed", what)
		}
	}
	d := newTeller(t, login.AuthBasic)
	claims := d.issuer.Claims("alice", "dba")
	claims["groups"] = []string{"dba", hush}
	token := d.key.Sign(claims)
	d.issuer.Instead("/token", says(200, `{"id_token": "`+token+`"}`))
	_, err := d.Exchange(t.Context(), "device-secret")
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_ISSUER_UNREACHABLE {
		t.Errorf("a token with the secret in it: %v", err)
	}
	d.quiet(t, "a token", err)
	_, err = d.Verify(t.Context(), token, d.proved)
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_ID_TOKEN_REFUSED {
		t.Errorf("a token with the secret in it, shown: %v", err)
	}
	d.quiet(t, "a token that is shown", err)
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func leads(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
	}
}

// The secret goes to no address that is not https, whatever the provider publishes.
func TestTheSecretGoesToNoOpenAddress(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"http://id.example/x", "ftp://id.example/x", "", "//x",
		"http://127.0.0.1.example/x"} {
		d := newTeller(t, login.AuthPost)
		document := fmt.Sprintf(`{"issuer": %q, "jwks_uri": %q,
			"authorization_endpoint": "https://x", "token_endpoint": %q,
			"device_authorization_endpoint": %q}`, d.issuer.URL,
			d.issuer.URL+"/keys", address, address)
		d.issuer.Instead("/.well-known/openid-configuration", says(200, document))
		d.unusable(t, address)
	}
}

// A provider that hangs holds nobody up for longer than the call lasts.
func TestAProviderThatHangsIsLeft(t *testing.T) {
	t.Parallel()
	d := newTeller(t, login.AuthBasic)
	end, asking := make(chan struct{}), make(chan struct{}, 1)
	d.issuer.Instead("/device/code", func(http.ResponseWriter, *http.Request) {
		asking <- struct{}{}
		<-end
	})
	defer close(end)
	asked := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _, err := d.Begin(ctx, "n"); asked <- err }()
	<-asking
	cancel()
	if err := <-asked; errs.ReasonOf(err) != errorsv1.Reason_REASON_ISSUER_UNREACHABLE {
		t.Error(err)
	}
}

// The file is the control plane's alone, has one line, and is read again.
func TestTheFileOfTheSecret(t *testing.T) {
	t.Parallel()
	start := func(text string, mode os.FileMode, auth login.ClientAuth) error {
		file := write(t, text)
		must(t, os.Chmod(file, mode))
		_, err := login.New(login.Config{Issuer: "https://id.example", ClientID: "u",
			GroupsFile: write(t, groupsFile), SecretFile: file, Auth: auth})
		return err
	}
	for want, err := range map[string]error{
		"can be read by everybody":   start(hush, 0o604, ""),
		"can be changed by others":   start(hush, 0o620, ""),
		"is empty":                   start(" \n", 0o600, ""),
		"more in it than one line":   start("a\nb", 0o600, ""),
		"more than 4096 bytes":       start(strings.Repeat("x", 5000), 0o600, ""),
		"must be one of basic, post": start(hush, 0o600, "none"),
	} {
		if err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), hush) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := start(hush, 0o640, login.AuthPost); err != nil {
		t.Error(err)
	}
	_, err := login.New(login.Config{Issuer: "https://id.example", ClientID: "u",
		GroupsFile: write(t, groupsFile), SecretFile: "/nonexistent"})
	if !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	d := newDesk(t)
	if d.ByControlPlane() {
		t.Error("a client without a secret")
	}
}
