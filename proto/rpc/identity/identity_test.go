package identity_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
)

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func leaf(t *testing.T, credentials *identity.Credentials) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(credentials.Certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestParse(t *testing.T) {
	t.Parallel()
	right := map[string]identity.Identity{
		"spiffe://understudy/controlplane":      identity.ControlPlane(),
		"spiffe://understudy/agent/db-1":        identity.Agent("db-1"),
		"spiffe://understudy/agent/a.b_c-9":     identity.Agent("a.b_c-9"),
		"spiffe://understudy/operator/root":     identity.Operator("root"),
		"spiffe://understudy/operator/operator": identity.Operator("operator"),
		"spiffe://understudy/viewer/ann":        identity.Viewer("ann"),
		"spiffe://understudy/admin/ann":         identity.Admin("ann"),
	}
	for uri, want := range right {
		got, err := identity.Parse(uri)
		if err != nil || got != want || got.String() != uri || got.URI().String() != uri {
			t.Errorf("%s: %v %v", uri, got, err)
		}
	}
	for _, uri := range wrongURIs() {
		if got, err := identity.Parse(uri); err == nil {
			t.Errorf("%q passed as %v", uri, got)
		}
	}
}

func wrongURIs() []string {
	return []string{
		"", "spiffe://understudy", "spiffe://understudy/", "spiffe://understudy/anonymous",
		"spiffe://understudy/agent",
		"spiffe://understudy/agent/", "spiffe://understudy/agent/a/b",
		"spiffe://understudy/agent/../controlplane",
		"spiffe://understudy/agent/DB", "spiffe://understudy/agent/a%62",
		"spiffe://understudy/agent/a\n", "spiffe://understudy/agent/-a",
		"spiffe://understudy/controlplane/", "spiffe://understudy/controlplane/x",
		"spiffe://understudy.example/controlplane",
		"SPIFFE://understudy/controlplane", "https://understudy/controlplane",
		"spiffe://u@understudy/controlplane",
		"spiffe://understudy/controlplane?x", "spiffe://understudy/root/x",
		"spiffe://understudy/agent/" + strings.Repeat("a", 64),
		"spiffe://understudy/break_glass/root", "spiffe://understudy/admin",
		"spiffe://understudy/Admin/ann", "spiffe://understudy/admin/ann/x",
		"spiffe://understudy/viewer/../admin/ann", "spiffe://understudy//admin/ann",
	}
}

func TestNoRoleGivesMoreThanItHas(t *testing.T) {
	t.Parallel()
	gives := map[identity.Role]int{identity.RoleViewer: 1, identity.RoleOperator: 2,
		identity.RoleAdmin: 3, identity.RoleBreakGlass: 3}
	all := []identity.Role{identity.RoleAnonymous, identity.RoleAgent, identity.RoleControlPlane,
		identity.RoleBreakGlass, identity.RoleViewer, identity.RoleOperator, identity.RoleAdmin,
		"", "root"}
	for _, role := range all {
		for _, other := range all {
			may := false
			for _, lesser := range identity.Operators()[:gives[role]] {
				may = may || other == lesser
			}
			if role.Gives(other) != may {
				t.Errorf("%s gives %s: %v", role, other, !may)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, uri := range append(wrongURIs(), "spiffe://understudy/agent/db-1",
		"spiffe://understudy/controlplane") {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		id, err := identity.Parse(uri)
		if err != nil {
			return
		}
		if id.String() != uri || id.URI().String() != uri || id.Check() != nil {
			t.Errorf("%q passed as %v", uri, id)
		}
	})
}

func joinFile(t testing.TB) identity.JoinFile {
	ca := identitytest.New(t)
	return identity.JoinFile{
		Server: "db-1", ControlPlane: []string{"10.0.0.1:7440"}, Token: "s3cret",
		CASPKISHA256: identity.Pin(ca.Certificate),
		CAPEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE",
			Bytes: ca.Certificate.Raw})),
	}
}

func TestParseJoinFile(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*identity.JoinFile)
		want   string
	}{
		"right":      {func(*identity.JoinFile) {}, ""},
		"bad server": {func(f *identity.JoinFile) { f.Server = "../x" }, "server"},
		"no token":   {func(f *identity.JoinFile) { f.Token = "" }, "no token"},
		"no address": {func(f *identity.JoinFile) { f.ControlPlane = nil }, "no address"},
		"no port": {func(f *identity.JoinFile) { f.ControlPlane = []string{"10.0.0.1"} },
			"control_plane"},
		"another CA": {func(f *identity.JoinFile) { f.CAPEM = joinFile(t).CAPEM },
			"not the pin"},
		"no CA":   {func(f *identity.JoinFile) { f.CAPEM = "" }, "ca_pem"},
		"two CAs": {func(f *identity.JoinFile) { f.CAPEM += f.CAPEM }, "one certificate"},
		"broken CA": {func(f *identity.JoinFile) {
			f.CAPEM = strings.Replace(f.CAPEM, "MII",
				"AAA", 1)
		}, "ca_pem"},
		"far too long": {func(f *identity.JoinFile) { f.Token = strings.Repeat("x", 1<<20) },
			"bytes"},
		"no pin": {func(f *identity.JoinFile) { f.CASPKISHA256 = "" }, "not the pin"},
		"pin of no bytes": {func(f *identity.JoinFile) { f.CASPKISHA256 = strings.Repeat("0", 64) },
			"not the pin"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file := joinFile(t)
			test.change(&file)
			data, err := json.Marshal(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = identity.ParseJoinFile(data)
			if test.want == "" && err != nil || test.want != "" &&
				(err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
	for _, text := range []string{"", "{", "[]", "null", `{"server":"a","evil":1}`, "{} {}"} {
		if _, err := identity.ParseJoinFile([]byte(text)); err == nil {
			t.Errorf("%q passed", text)
		}
	}
}

func TestJoinFileHidesItsToken(t *testing.T) {
	t.Parallel()
	file := joinFile(t)
	if text := fmt.Sprintf("%v %+v %#v %s", file, file, file, file); strings.Contains(text,
		file.Token) {
		t.Error(text)
	}
}

func FuzzParseJoinFile(f *testing.F) {
	good, err := json.Marshal(joinFile(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(bytes.ToUpper(good))
	f.Add([]byte(`{"server":"a","control_plane":[":"],"token":"t"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := identity.ParseJoinFile(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := identity.ParseJoinFile(again); err != nil {
			t.Errorf("%s parses, %s does not: %v", data, again, err)
		}
	})
}
