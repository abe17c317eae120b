package app_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/app"
	"github.com/understudy-db/understudy/controlplane/internal/app/apptest"
	"github.com/understudy-db/understudy/controlplane/internal/login/logintest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// A login is on record before it is made, and an ID token is not.
func TestALoginIsRecorded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := logintest.NewKey(t, "k1", "ES256")
	issuer := logintest.New(t, key)
	groups := filepath.Join(t.TempDir(), "groups.yaml")
	if err := os.WriteFile(groups, []byte("groups: [{group: dba, role: viewer}]"),
		0o600); err != nil {
		t.Fatal(err)
	}
	p := &plane{t: t, Plane: apptest.Start(t, stillWorld(t).Process(), apptest.Settings(t, dir,
		map[string]any{"oidc_issuer": issuer.URL, "oidc_client_id": logintest.ClientID,
			"oidc_groups_file": groups}))}
	p.conn = p.Dial(apptest.Operator(t, dir))
	stranger := cpv1.NewEnrollmentServiceClient(
		p.Dial(&identity.Static{Roots: p.credentials().Roots}))
	_, csr := p.newKey()
	token := key.Sign(issuer.Claims("ann", "dba"))
	login := func(token string) error {
		_, err := stranger.Login(t.Context(), &cpv1.LoginRequest{IdToken: token, Csr: csr})
		return err
	}
	refused(t, login(key.Sign(issuer.Claims("bob", "none"))), errs.PermissionDenied,
		errorsv1.Reason_REASON_NO_ROLE)
	if err := login(token); err != nil {
		t.Fatal(err)
	}
	refused(t, login(token), errs.Unauthenticated, errorsv1.Reason_REASON_ID_TOKEN_REFUSED)
	want := []string{"anonymous Login PermissionDeniedNO_ROLE", "anonymous Login OK",
		"anonymous Login UnauthenticatedID_TOKEN_REFUSED"}
	if got := p.recorded(); !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
	list, err := p.audit().ListAuditRecords(t.Context(), &cpv1.ListAuditRecordsRequest{})
	if err != nil || strings.Contains(list.String(), "eyJ") {
		t.Errorf("the ID token is on record: %v, %v", list, err)
	}
	// Nobody gets in whose login cannot be recorded, and the ID token is not used up.
	p.exec("CREATE TRIGGER full BEFORE INSERT ON audit_records BEGIN " +
		"SELECT RAISE(ABORT, 'database or disk is full'); END")
	next := issuer.Claims("ann", "dba")
	next["jti"] = "2"
	token = key.Sign(next)
	refused(t, login(token), errs.Unavailable, errorsv1.Reason_REASON_AUDIT_UNAVAILABLE)
	p.exec("DROP TRIGGER full")
	if err := login(token); err != nil {
		t.Error(err)
	}
}

// Half of an identity provider is none.
func TestSettingsOfLogins(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		set  map[string]any
		want string
	}{
		{map[string]any{"oidc_issuer": "https://id.example"}, "oidc_client_id: is required"},
		{map[string]any{"oidc_issuer": "https://id.example", "oidc_client_id": "u"},
			"oidc_groups_file: is required"},
		{map[string]any{"oidc_client_id": "u"}, "oidc_client_id: is nothing without oidc_issuer"},
		{map[string]any{"oidc_groups_file": "/g"}, "oidc_groups_file: is nothing without"},
		{map[string]any{"oidc_issuer": "https://id.example", "oidc_client_id": "u",
			"oidc_groups_file": "groups"}, "not an absolute path"},
		{map[string]any{"oidc_client_secret_file": "/s"},
			"oidc_client_secret_file: is nothing without oidc_issuer"},
		{map[string]any{"oidc_client_secret_file": "s"}, "is not an absolute path"},
		{map[string]any{"oidc_client_auth": "jwt"}, "must be one of basic, post"},
		{map[string]any{"oidc_session": "1m"}, "oidc_session: 1m0s is not between"},
		{map[string]any{"oidc_session": "9h"}, "oidc_session: 9h0m0s is not between"},
	} {
		test.set["provider"], test.set["state_dir"] = "manual", "/x"
		_, err := app.Load(app.Sources{Flags: test.set})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, want %q", test.set, err, test.want)
		}
	}
}
