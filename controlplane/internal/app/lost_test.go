package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/app"
	"github.com/understudy-db/understudy/controlplane/internal/app/apptest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Who was revoked is in the records alone: without them nothing of the state directory is used,
// whichever part of it is left.
func TestRecordsThatAreLostLetNobodyInAgain(t *testing.T) {
	t.Parallel()
	dir, w := t.TempDir(), stillWorld(t)
	p := startPlane(t, dir, w)
	revoke := func(name string) {
		t.Helper()
		_, err := cpv1.NewEnrollmentServiceClient(p.conn).Revoke(t.Context(),
			&cpv1.RevokeRequest{Name: name, Reason: "stolen"})
		must(t, err)
	}
	ann := p.operator("ann", cpv1.OperatorRole_OPERATOR_ROLE_ADMIN)
	db1 := p.enrol(p.Dial(&identity.Static{Roots: p.credentials().Roots}), "db1")
	revoke("operators/ann")
	revoke("servers/db1")
	p.Stop()
	noSockets(t, dir)
	for name, left := range map[string][]string{
		"all":                   {"ca", "controlplane", "operator", "audit.json"},
		"the root":              {"ca/ca.pem", "ca/key.pem"},
		"a root put aside":      {"ca/ca.pem.lost"},
		"the key of the admin":  {"operator/key.pem"},
		"the key of the server": {"controlplane/key.pem"},
		"an empty file":         {"ca", "understudy.db"},
	} {
		part := partOf(t, dir, left)
		for _, replace := range []bool{false, true} {
			cfg := apptest.Settings(t, part, map[string]any{"replace_lost_root": replace})
			one, err := app.New(t.Context(), cfg, apptest.Quiet(), apptest.Dev(w.Process(), cfg))
			if err == nil {
				t.Errorf("%s is left: it starts, and has forgotten who was revoked", name)
				must(t, one.Close())
				continue
			}
			if errs.ReasonOf(err) != errorsv1.Reason_REASON_STORE_MISMATCH ||
				!strings.Contains(err.Error(), filepath.Join(part, "understudy.db")) ||
				!strings.Contains(errs.HintOf(err).String(), "understudy restore") {
				t.Errorf("%s is left: %v; hint: %s", name, err, errs.HintOf(err))
			}
		}
	}
	next := startPlane(t, t.TempDir(), w)
	for _, who := range []identity.Source{ann, db1} {
		believesNot(t, next, who)
	}
}

// A key that is kept elsewhere outlives the state directory. What it signed is not believed by the
// root that it makes next.
func TestAKeyThatOutlivesTheRecordsLetsNobodyInAgain(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	file := filepath.Join(t.TempDir(), "root.key")
	must(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		0o600))
	w := stillWorld(t)
	start := func() *plane {
		dir := t.TempDir()
		p := &plane{t: t, Plane: apptest.Start(t, w.Process(), apptest.Settings(t, dir,
			map[string]any{"ca_key": "file", "ca_key_files": []string{file}}))}
		p.conn = p.Dial(apptest.Operator(t, dir))
		return p
	}
	p := start()
	ann := p.operator("ann", cpv1.OperatorRole_OPERATOR_ROLE_ADMIN)
	p.Stop()
	believesNot(t, start(), ann)
}

// partOf is a copy of the state directory with some of its files and folders; the store is empty.
func partOf(t *testing.T, dir string, left []string) string {
	t.Helper()
	part := filepath.Join(t.TempDir(), "state")
	for _, name := range left {
		from, to := filepath.Join(dir, name), filepath.Join(part, name)
		must(t, os.MkdirAll(filepath.Dir(to), 0o700))
		info, err := os.Stat(from)
		switch {
		case name == "understudy.db" || err != nil: // nothing was put aside
			must(t, os.WriteFile(to, nil, 0o600))
		case info.IsDir():
			must(t, os.CopyFS(to, os.DirFS(from)))
		default:
			data, err := os.ReadFile(from)
			must(t, err)
			must(t, os.WriteFile(to, data, 0o600))
		}
	}
	return part
}

// believesNot fails the test when the control plane believes a certificate of another one.
func believesNot(t *testing.T, p *plane, who identity.Source) {
	t.Helper()
	shown, err := who.Credentials()
	must(t, err)
	cert, err := x509.ParseCertificate(shown.Certificate.Certificate[0])
	must(t, err)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: p.credentials().Roots,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
		t.Error("its roots believe a certificate of before")
	}
	conn := p.Dial(&identity.Static{Certificate: shown.Certificate, Roots: p.credentials().Roots})
	if _, err := cpv1.NewEnrollmentServiceClient(conn).ListOperators(t.Context(),
		&cpv1.ListOperatorsRequest{}); err == nil {
		t.Error("it answers who has a certificate of before")
	}
}
