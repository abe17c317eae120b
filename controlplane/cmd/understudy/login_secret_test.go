package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/login/logintest"
)

// With a client that has a secret the control plane asks the provider: the laptop gets a code and a
// certificate, and never the secret, nor a connection to the provider.
func TestLogInWithAClientThatHasASecret(t *testing.T) {
	t.Parallel()
	const hush = "hush-hush+client"
	file := filepath.Join(t.TempDir(), "client-secret")
	if err := os.WriteFile(file, []byte(hush), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, auth := range []string{"basic", "post"} {
		d := newLoginDesk(t, map[string]any{"oidc_client_secret_file": file,
			"oidc_client_auth": auth})
		d.issuer.Guard(func(r *http.Request) bool {
			_, _, basic := r.BasicAuth()
			return basic == (auth == "basic") && (r.FormValue("client_secret") == hush) != basic
		})
		d.confirms("alice", "dba", logintest.Pending(), logintest.Answer{
			Status: http.StatusBadGateway, Body: hush})
		code, stdout, stderr := d.laptop(d.first()...)
		if code != exitOK || !strings.HasPrefix(stdout, "logged in to prod as alice@example.com") {
			t.Fatalf("%s: exit code %d: %s%s", auth, code, stdout, stderr)
		}
		for _, text := range []string{"Open " + d.issuer.URL + "/device\n", "ABCD-EFGH\n", "502",
			"trying again"} {
			if !strings.Contains(stderr, text) {
				t.Errorf("it does not say %q: %s", text, stderr)
			}
		}
		noSecretStays(t, d.home)

		d.confirms("alice", "dba", logintest.Refuses("access_denied"))
		said := stderr + d.wants(exitFailed, []string{"refused at the identity provider"}, "login")
		d.confirms("alice", "dba", logintest.Answer{Status: http.StatusBadRequest,
			Body: `{"error": "` + hush + `"}`}, logintest.Refuses("expired_token"))
		said += d.wants(exitUnreachable, []string{"nobody confirmed the code in time"}, "login")
		d.issuer.Guard(func(*http.Request) bool { return false })
		said += d.wants(exitFailed, []string{"refuses the client understudy: invalid_client",
			"oidc_client_secret_file"}, "login")
		said += d.wants(exitOK, []string{"Login"}, "audit", "list", "-o", "json")
		said += d.wants(exitOK, []string{"operator.login"}, "event", "list", "-o", "json")
		for _, secret := range []string{"hush-hush", "device-secret", "eyJ"} {
			if strings.Contains(said, secret) {
				t.Errorf("%s: it says %q: %s", auth, secret, said)
			}
		}
		d.issuer.Close()
		d.wants(exitUnreachable, []string{"the identity provider " + d.issuer.URL}, "login")
	}
}
