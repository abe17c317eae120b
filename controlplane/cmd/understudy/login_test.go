package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/app/apptest"
	"github.com/understudy-db/understudy/controlplane/internal/login/logintest"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// loginDesk is a control plane whose operators log in, their provider, and a laptop.
type loginDesk struct {
	t      *testing.T
	plane  *apptest.Plane
	issuer *logintest.Issuer
	key    logintest.Key
	admin  string // folder of an admin's credentials
	home   string
	pin    string
}

func newLoginDesk(t *testing.T, with ...map[string]any) *loginDesk {
	t.Helper()
	d := &loginDesk{t: t, key: logintest.NewKey(t, "k1", "ES256"), home: t.TempDir()}
	d.issuer = logintest.New(t, d.key)
	groups := filepath.Join(t.TempDir(), "groups.yaml")
	if err := os.WriteFile(groups, []byte("groups:\n- {group: dba, role: admin}\n"+
		"- {group: shop, role: operator, servers: ['shop-*']}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := map[string]any{"oidc_issuer": d.issuer.URL,
		"oidc_client_id": logintest.ClientID, "oidc_groups_file": groups}
	for _, more := range with {
		maps.Copy(settings, more)
	}
	d.plane, d.admin = newPlane(t, settings)
	ca, err := identity.ReadCertificate(filepath.Join(d.admin, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	d.pin = identity.ShowPin(identity.Pin(ca))
	d.confirms("alice", "dba")
	return d
}

// confirms has somebody confirm the code, after those answers.
func (d *loginDesk) confirms(who, group string, first ...logintest.Answer) {
	d.issuer.Flow(logintest.Device{Claims: d.issuer.Claims(who, group), Key: d.key,
		Answers: first, ExpiresIn: 60, Interval: 1, Nonce: true})
}

// laptop runs a command on it.
func (d *loginDesk) laptop(args ...string) (code int, stdout, stderr string) {
	d.t.Helper()
	w, out, errs := world(args...)
	w.Environ = []string{"HOME=" + d.home, "LANG=C.UTF-8", "TZ=UTC"}
	w.Now = time.Now
	code = Run(d.t.Context(), w)
	return code, out.String(), errs.String()
}

// first are the arguments of the first login.
func (d *loginDesk) first() []string {
	return []string{"login", "prod", "--address", d.plane.Address(), "--ca-pin", d.pin}
}

// wants runs a command on the laptop, and wants its exit code and what it prints.
func (d *loginDesk) wants(code int, texts []string, args ...string) string {
	d.t.Helper()
	got, stdout, stderr := d.laptop(args...)
	said := stdout + stderr
	for _, text := range texts {
		if !strings.Contains(said, text) {
			d.t.Errorf("%v does not say %q", args, text)
		}
	}
	if got != code || d.t.Failed() {
		d.t.Fatalf("%v: exit code %d, want %d: %s", args, got, code, said)
	}
	return said
}

func TestLogIn(t *testing.T) {
	t.Parallel()
	d := newLoginDesk(t)
	d.confirms("alice", "dba", logintest.Pending(), logintest.Answer{Status: http.StatusBadGateway,
		Body: "<html>\x1b[31m"})
	code, stdout, stderr := d.laptop(d.first()...)
	if code != exitOK || !strings.HasPrefix(stdout, "logged in to prod as alice@example.com "+
		"(oidc.alice-example.com.") || !strings.Contains(stdout, "in the role admin, until ") {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	for _, text := range []string{"Open " + d.issuer.URL + "/device\n", "ABCD-EFGH\n",
		d.issuer.URL + "/device?user_code=ABCD-EFGH\n", "waiting until ", "502", "trying again"} {
		if !strings.Contains(stderr, text) {
			t.Errorf("it does not say %q: %s", text, stderr)
		}
	}
	if strings.ContainsAny(stderr, "\x1b") || strings.Contains(stderr, "secret") {
		t.Errorf("it shows what it must not: %q", stderr)
	}
	d.wants(exitOK, []string{"oidc.alice-example.com.", "login alice@example.com", "created",
		d.issuer.URL}, "operator", "list", "-o", "wide")
	d.wants(exitOK, []string{"* ", "prod", "admin"}, "context", "list")
	folder := filepath.Join(d.home, ".config", "understudy", "credentials", "prod")
	for _, file := range []string{"key.pem", "cert.pem", "ca.pem"} {
		info, err := os.Stat(filepath.Join(folder, file))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	noSecretStays(t, d.home)

	// Another one needs neither address nor pin, and its result is for programs.
	d.confirms("alice", "shop")
	code, stdout, stderr = d.laptop("login", "-o", "json")
	var answer struct {
		Name, Role string
		Servers    []string
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || code != exitOK ||
		answer.Role != "OPERATOR_ROLE_OPERATOR" || len(answer.Servers) != 1 {
		t.Errorf("exit code %d: %v: %s%s", code, err, stdout, stderr)
	}
	d.wants(exitFailed, []string{"may not call"}, "operator", "create", "bob", "--out",
		filepath.Join(d.home, "bob.json"))
	d.wants(exitFailed, []string{"came from a login", "understudy login"}, "context", "renew")
}

// noSecretStays looks for tokens in what the command line has written.
func noSecretStays(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		for _, secret := range []string{"secret", "eyJ"} {
			if strings.Contains(string(data), secret) {
				t.Errorf("%s has %q in it", path, secret)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A command does not renew what a login gave, and says so in time.
func TestALoginIsNotRenewed(t *testing.T) {
	t.Parallel()
	d := newLoginDesk(t)
	d.wants(exitOK, nil, d.first()...)
	path := filepath.Join(d.home, ".config", "understudy", "credentials", "prod", "cert.pem")
	before, err := identity.ReadCertificate(path)
	if err != nil {
		t.Fatal(err)
	}
	list := func(left time.Duration) (int, string) {
		w, _, stderr := world("job", "list")
		w.Environ = []string{"HOME=" + d.home}
		w.Now = func() time.Time { return before.NotAfter.Add(-left) }
		return Run(t.Context(), w), stderr.String()
	}
	if code, said := list(20 * time.Minute); code != exitOK || strings.Contains(said, "login") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if code, said := list(5 * time.Minute); code != exitOK ||
		!strings.Contains(said, "the login ends in 5m") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if code, said := list(-time.Minute); code != exitUsage ||
		!strings.Contains(said, "the login in ") || !strings.Contains(said, "`understudy login`") {
		t.Errorf("exit code %d: %s", code, said)
	}
	after, err := identity.ReadCertificate(path)
	if err != nil || identity.Serial(after) != identity.Serial(before) {
		t.Errorf("the certificate is another one: %v", err)
	}
}

func TestWhoDoesNotGetIn(t *testing.T) {
	t.Parallel()
	d := newLoginDesk(t)
	d.confirms("bob", "nobodies")
	d.wants(exitFailed, []string{"none of the 1 groups of bob@example.com", "NO_ROLE"},
		d.first()...)
	d.confirms("bob", "dba", logintest.Pending(), logintest.Refuses("access_denied"))
	d.wants(exitFailed, []string{"refused at the identity provider"}, d.first()...)
	d.confirms("bob", "dba", logintest.Refuses("unauthorized_client"))
	d.wants(exitFailed, []string{"refuses the client understudy: unauthorized_client"},
		d.first()...)
	d.confirms("bob", "dba", logintest.Refuses("expired_token"))
	d.wants(exitUnreachable, []string{"nobody confirmed the code in time"}, d.first()...)

	// The code's own time is over, while nothing is answered.
	d.issuer.Flow(logintest.Device{ExpiresIn: 2, Interval: 1, Answers: []logintest.Answer{
		logintest.Pending(), logintest.Pending(), logintest.Pending(), logintest.Pending()}})
	d.wants(exitUnreachable, []string{"nobody confirmed the code in time"}, d.first()...)

	d.confirms("bob", "dba")
	d.wants(exitOK, []string{"logged in"}, d.first()...)
	name := "oidc.bob-example.com."
	said := d.wants(exitOK, []string{name}, "operator", "list", "-o", "name")
	name = said[strings.Index(said, name):]
	name = name[:strings.IndexByte(name, '\n')]
	admin := []string{"--address", d.plane.Address(), "--credentials", d.admin}
	d.wants(exitOK, nil, append([]string{"operator", "revoke", name, "--reason", "left"},
		admin...)...)
	d.confirms("bob", "dba")
	d.wants(exitFailed, []string{"was revoked on", "left", "understudy operator readmit " + name},
		"login")
	d.wants(exitOK, []string{"may log in again"},
		append([]string{"operator", "readmit", name}, admin...)...)
	d.confirms("bob", "dba")
	d.wants(exitOK, []string{"logged in"}, "login")
	d.wants(exitUsage, []string{"must not be one of those"}, append([]string{"operator", "create",
		name, "--out", filepath.Join(d.home, "x.json")}, admin...)...)
}

// It says whose fault it is that nobody logs in.
func TestTheProviderIsBlamed(t *testing.T) {
	t.Parallel()
	d := newLoginDesk(t)
	d.wants(exitOK, nil, d.first()...)
	discovery := "/.well-known/openid-configuration"
	for what, handler := range map[string]http.HandlerFunc{
		"an error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"no flow":  without(d.issuer.URL, "device_authorization_endpoint"),
		"no code":  nil,
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/x", http.StatusFound)
		},
	} {
		path := discovery
		if handler == nil {
			path, handler = "/device/code", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"device_code": "x", "user_code": "y", ` +
					`"verification_uri": "javascript:alert(1)", "interval": -1}`))
			}
		}
		d.issuer.Instead(path, handler)
		d.wants(exitUnreachable, []string{"the identity provider " + d.issuer.URL,
			"the control plane is fine", "ISSUER_UNREACHABLE"}, "login")
		d.issuer.Instead(path, nil)
		_ = what
	}
	d.issuer.Close()
	d.wants(exitUnreachable, []string{"the identity provider " + d.issuer.URL}, "login")
	d.wants(exitOK, nil, "job", "list") // what is there goes on
}

// without is a configuration that leaves something out.
func without(issuer, key string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		document := map[string]any{"issuer": issuer, "jwks_uri": issuer + "/keys",
			"authorization_endpoint": issuer + "/auth", "token_endpoint": issuer + "/token",
			"device_authorization_endpoint": issuer + "/device/code"}
		delete(document, key)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(document)
	}
}

// What is missing is named, and credentials that no login made stay.
func TestWhereToLogIn(t *testing.T) {
	t.Parallel()
	d := newLoginDesk(t)
	d.wants(exitUsage, []string{"CONTEXT is required", "understudy login prod --address"}, "login")
	d.wants(exitUsage, []string{"--address is required"}, "login", "prod")
	d.wants(exitUsage, []string{"--ca-pin is required", "understudy ca status"}, "login", "prod",
		"--address", d.plane.Address())
	d.wants(exitUsage, []string{"is not a pin"}, "login", "prod", "--address", d.plane.Address(),
		"--ca-pin", "abc")
	d.wants(exitUsage, []string{"is not the control plane of this pin"}, "login", "prod",
		"--address", d.plane.Address(), "--ca-pin", "sha256:"+strings.Repeat("0", 64))
	d.wants(exitUsage, []string{"CONTEXT must be letters"}, "login", "../x", "--address",
		d.plane.Address(), "--ca-pin", d.pin)
	d.wants(exitUsage, []string{"takes no --local"}, "login", "prod", "--credentials", d.admin)
	if hits := d.issuer.Hits("/device/code"); hits > 0 {
		t.Errorf("the provider was asked %d times", hits)
	}
	file := filepath.Join(d.home, "ann.json")
	d.wants(exitOK, nil, "operator", "create", "ann", "--out", file, "--address",
		d.plane.Address(), "--credentials", d.admin)
	d.wants(exitOK, nil, "context", "add", "mine", "--credentials", file, "--address",
		d.plane.Address())
	for _, context := range []string{"mine", ""} {
		d.wants(exitUsage, []string{"has the credentials of ann, which no login made"},
			append([]string{"login"}, strings.Fields(context)...)...)
	}
	d.wants(exitOK, []string{"operator/ann"}, "doctor")
}

// Without a provider it says what to do instead.
func TestLogInWithoutAProvider(t *testing.T) {
	t.Parallel()
	p, admin := newPlane(t, nil)
	ca, err := identity.ReadCertificate(filepath.Join(admin, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	d := &loginDesk{t: t, plane: p, home: t.TempDir(), pin: identity.ShowPin(identity.Pin(ca))}
	d.wants(exitFailed, []string{"nobody logs in here", "LOGIN_NOT_CONFIGURED",
		"understudy operator create NAME --out FILE"}, d.first()...)
}

// Who never logged in is revoked by the subject, listed, and refused at the first login.
func TestWhoNeverLoggedInIsKeptOut(t *testing.T) {
	t.Parallel()
	d := newLoginDesk(t)
	admin := []string{"--address", d.plane.Address(), "--credentials", d.admin}
	as := func(args ...string) []string { return append(args, admin...) }
	d.wants(exitFailed, []string{"NOT_FOUND"}, as("operator", "readmit", "oidc:alice")...)
	d.wants(exitUsage, []string{"names no subject"}, as("operator", "revoke", "oidc:",
		"--reason", "x")...)
	d.wants(exitUsage, []string{"subject holds the character"}, as("operator", "revoke",
		"oidc:a\x1bb", "--reason", "x")...)
	d.wants(exitOK, []string{"oidc.alice.", "would not log in any more"}, as("operator", "revoke",
		"oidc:alice", "--reason", "never", "--dry-run")...)
	d.wants(exitOK, []string{"oidc.alice.", "does not log in any more"}, as("operator", "revoke",
		"oidc:alice", "--reason", "never")...)
	said := d.wants(exitOK, []string{"oidc.alice.", "REVOKED", "never", "login alice",
		d.issuer.URL}, as("operator", "list", "-o", "wide")...)
	if strings.Contains(said, "1970") {
		t.Errorf("a time that is none: %s", said)
	}
	d.wants(exitFailed, []string{"LOGIN_REVOKED", "never"}, d.first()...)
	d.wants(exitOK, []string{"the subject alice of " + d.issuer.URL + ", before the first login"},
		as("event", "list")...)
	d.wants(exitOK, []string{"Revoke", "admin"}, as("audit", "list")...)
	d.wants(exitOK, []string{"oidc.alice.", "may log in again"}, as("operator", "readmit",
		"oidc:alice")...)
	d.confirms("alice", "dba")
	d.wants(exitOK, []string{"logged in to prod as alice@example.com (oidc.alice-example.com."},
		d.first()...)
	said = d.wants(exitOK, nil, as("operator", "list")...)
	if strings.Contains(said, "oidc.alice.") {
		t.Errorf("the name of before stays: %s", said)
	}
}
