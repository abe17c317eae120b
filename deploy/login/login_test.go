//go:build lab

package login

import (
	"encoding/json"
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// wants compares what a command said, and its exit code.
func wants(t *testing.T, out string, err error, code int, texts ...string) {
	t.Helper()
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got, err = exit.ExitCode(), nil
	}
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("it does not say %q", text)
		}
	}
	if err != nil || got != code || t.Failed() {
		t.Fatalf("exit code %d, want %d: %v\n%s", got, code, err, out)
	}
}

var person = regexp.MustCompile(`operators/(oidc\.alice-example\.com\.[0-9a-f]{12})`)

// TestLogInWithAProvider has people log in with their accounts at a real provider.
func TestLogInWithAProvider(t *testing.T) {
	w := newWorld(t)

	// Who is in a group with a role gets that, for as long as the ID token lasts.
	out, err := w.logsIn("alice")
	wants(t, out, err, 0, "logged in to prod as alice@example.com (oidc.alice-example.com.",
		"in the role admin")
	out, err = w.runs("alice", "operator", "list", "-o", "json")
	wants(t, out, err, 0, "alice@example.com", w.issuer)
	lasts(t, out)
	found := person.FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("no name in\n%s", out)
	}
	alice := found[1]
	out, err = w.logsIn("bob")
	wants(t, out, err, 0, "in the role operator for the servers shop-*")
	out, err = w.runs("bob", "token", "create", "web-1")
	wants(t, out, err, 1, "NOT_ALLOWED")

	// The others do not get in, and it says why.
	out, err = w.logsIn("carol")
	wants(t, out, err, 1, "NO_ROLE", "none of the 1 groups of carol@example.com has a role here")
	out, err = w.logsIn("dave")
	wants(t, out, err, 1, "ID_TOKEN_REFUSED", "nobody verified the e-mail address")

	// A revocation holds for the person, with every new key, until an admin says otherwise.
	out, err = w.admin("operator", "revoke", alice, "--reason", "left")
	wants(t, out, err, 0, "revoked")
	out, err = w.runs("alice", "operator", "list")
	if err == nil {
		t.Errorf("alice goes on: %s", out)
	}
	out, err = w.logsIn("alice")
	wants(t, out, err, 1, "LOGIN_REVOKED", "left", "understudy operator readmit "+alice)
	out, err = w.admin("operator", "readmit", alice)
	wants(t, out, err, 0, "may log in again")
	out, err = w.logsIn("alice")
	wants(t, out, err, 0, "in the role admin")

	out, err = w.admin("event", "list")
	wants(t, out, err, 0, "operator.login", "operator.login_refused", "operator.readmit",
		"identity.revoke")
	out, err = w.admin("audit", "list")
	wants(t, out, err, 0, "Login", "anonymous", "ReadmitOperator")
	if strings.Contains(out, "eyJ") {
		t.Errorf("an ID token is in the audit:\n%s", out)
	}

	t.Run("BreakGlassWithoutTheProvider", func(t *testing.T) { w.withoutProvider(t) })
}

// TestLogInByTheControlPlane has the control plane ask a real provider, with a client that has a
// secret: nobody who logs in gets it, and nothing that is written has it.
func TestLogInByTheControlPlane(t *testing.T) {
	for _, auth := range []string{"basic", "post"} {
		t.Run(auth, func(t *testing.T) {
			w := newWorld(t, "understudy-"+auth, auth)
			all, err := w.logsIn("alice")
			wants(t, all, err, 0, "logged in to prod as alice@example.com", "in the role admin")
			out, err := w.logsIn("carol")
			wants(t, out, err, 1, "NO_ROLE")
			all += out
			out, err = w.admin("audit", "list", "-o", "json")
			wants(t, out, err, 0, "Login")
			all += out
			out, err = w.admin("event", "list", "-o", "json")
			wants(t, out, err, 0, "alice@example.com")
			all += out
			w.write("secret", "another one\n") // which is read again
			out, err = w.logsIn("bob")
			wants(t, out, err, 1, "refuses the client understudy-"+auth+": unauthorized_client")
			w.plane.stop()
			all += out + w.plane.said.String()
			for _, text := range []string{secret, "another one", "eyJ"} {
				if strings.Contains(all, text) {
					t.Errorf("%q is in\n%s", text, all)
				}
			}
		})
	}
}

// lasts wants that no certificate of a login ends after the ID token, of 20 minutes.
func lasts(t *testing.T, out string) {
	t.Helper()
	var answer struct {
		Operators []struct {
			Account    *struct{} `json:"account"`
			ExpireTime time.Time `json:"expireTime"`
		} `json:"operators"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatal(err)
	}
	logins := 0
	for _, o := range answer.Operators {
		if o.Account == nil {
			continue
		}
		logins++
		if left := time.Until(o.ExpireTime); left > 20*time.Minute || left < 10*time.Minute {
			t.Errorf("a login lasts for %s", left)
		}
	}
	if logins == 0 {
		t.Errorf("nobody logged in:\n%s", out)
	}
}

// withoutProvider stops it: who is in goes on, who wants in is told whose fault it is, and root
// makes operators.
func (w *world) withoutProvider(t *testing.T) {
	w.provider.stop()
	out, err := w.runs("alice", "operator", "list")
	wants(t, out, err, 0, "alice@example.com")
	out, err = w.logsIn("bob")
	wants(t, out, err, 3, "ISSUER_UNREACHABLE", "the identity provider "+w.issuer,
		"the control plane is fine")
	out, err = w.runs("root", "--local", "--address", "unix:"+w.path("state/break-glass.sock"),
		"operator", "create", "eve", "--role", "admin", "--out", w.path("eve.json"))
	wants(t, out, err, 0, "in the role admin")
}
