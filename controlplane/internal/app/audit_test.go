package app_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/controlplane/internal/app"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/authz/authztest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func (p *plane) audit() cpv1.AuditServiceClient { return cpv1.NewAuditServiceClient(p.conn) }

// recorded are the calls on record, oldest first, as "who method outcome".
func (p *plane) recorded() (calls []string) {
	p.t.Helper()
	list, err := p.audit().ListAuditRecords(p.t.Context(),
		&cpv1.ListAuditRecordsRequest{PageSize: 1000})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, r := range slices.Backward(list.GetRecords()) {
		calls = append(calls, fmt.Sprintf("%s %s %s", strings.TrimPrefix(r.GetActor(),
			"spiffe://understudy/"), filepath.Base(r.GetMethod()), r.GetCode()+r.GetReason()))
	}
	return calls
}

// Every method that may change something is on record, whoever calls it, and no other is.
func TestEveryChangingMethodIsRecorded(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	rules, err := app.Rules()
	if err != nil {
		t.Fatal(err)
	}
	stranger := p.Dial(&identity.Static{Roots: p.credentials().Roots})
	viewer := p.Dial(p.operator("vic", cpv1.OperatorRole_OPERATOR_ROLE_VIEWER))
	for who, conn := range map[string]*grpc.ClientConn{"anonymous": stranger,
		"viewer/vic": viewer, "admin/admin": p.conn} {
		for method, desc := range methods() {
			_ = authztest.Call(t, conn, method, desc) // most are refused: the requests are empty
			name := string(desc.Name())
			found := slices.ContainsFunc(p.recorded(), func(call string) bool {
				return strings.HasPrefix(call, who+" "+name+" ")
			})
			if found != authz.Changes(method) {
				t.Errorf("%s calls %s: recorded %v", who, name, found)
			}
		}
	}
	if len(rules) != len(methods()) {
		t.Errorf("%d rules, %d methods", len(rules), len(methods()))
	}
	found, err := p.audit().VerifyAudit(t.Context(), &cpv1.VerifyAuditRequest{})
	if err != nil || len(found.GetProblems()) > 0 || found.GetRecords() < 50 ||
		found.GetOpenCalls() != 0 {
		t.Errorf("verified %v, %v", found, err)
	}
}

// A stranger's call with a bad token is recorded as refused, and that of a machine with a good one
// before it is certified.
func TestEnrolmentIsRecorded(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	stranger := p.Dial(&identity.Static{Roots: p.credentials().Roots})
	_, csr := p.newKey()
	_, other := p.newKey()
	token := make([]byte, 32)
	if _, err := rand.Read(token); err != nil {
		t.Fatal(err)
	}
	_, err := cpv1.NewEnrollmentServiceClient(stranger).Enroll(t.Context(), &cpv1.EnrollRequest{
		Server: "db1", AgentCsr: csr, MariadbCsr: other, Proof: &cpv1.EnrollRequest_Token{
			Token: base64.RawURLEncoding.EncodeToString(token)}})
	refused(t, err, errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_INVALID)
	p.enrol(stranger, "db1")
	want := []string{"anonymous Enroll PermissionDeniedTOKEN_INVALID",
		"admin/admin CreateJoinToken OK", "anonymous Enroll OK"}
	if got := p.recorded(); !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
	p.exec("CREATE TRIGGER full BEFORE INSERT ON audit_records BEGIN " +
		"SELECT RAISE(ABORT, 'database or disk is full'); END")
	before := p.certificates("agent/db1")
	file, err := cpv1.NewEnrollmentServiceClient(p.conn).CreateJoinToken(t.Context(),
		&cpv1.CreateJoinTokenRequest{Server: "servers/db1"})
	refused(t, err, errs.Unavailable, errorsv1.Reason_REASON_AUDIT_UNAVAILABLE)
	if file != nil || p.certificates("agent/db1") != before {
		t.Error("something was made")
	}
}

// waiting has a second connection to the store wait while the control plane writes.
const waiting = "?_pragma=busy_timeout(10000)"

// exec changes the store beside the control plane, as somebody does who has its file.
func (p *plane) exec(query string) {
	p.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(p.Dir, "understudy.db")+waiting)
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(p.t.Context(), query); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plane) certificates(of string) (n int) {
	p.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(p.Dir, "understudy.db")+waiting)
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(p.t.Context(), "SELECT COUNT(*) FROM certificates WHERE "+
		"identity = ?", "spiffe://understudy/"+of).Scan(&n); err != nil {
		p.t.Fatal(err)
	}
	return n
}

// A change is refused while the audit cannot be written, whoever asks, over the socket of
// break-glass as well. Reads go on.
func TestNoChangeWithoutTheAudit(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.exec("CREATE TRIGGER full BEFORE INSERT ON audit_records BEGIN " +
		"SELECT RAISE(ABORT, 'database or disk is full'); END")
	create := func() error {
		_, err := p.servers().CreateServer(t.Context(),
			&cpv1.CreateServerRequest{Name: "servers/db1"})
		return err
	}
	refused(t, create(), errs.Unavailable, errorsv1.Reason_REASON_AUDIT_UNAVAILABLE)
	_, csr := p.newKey()
	_, err := breakGlass(t, p.socket()).CreateOperator(t.Context(),
		&cpv1.CreateOperatorRequest{Name: "operators/eve", Csr: csr})
	refused(t, err, errs.Unavailable, errorsv1.Reason_REASON_AUDIT_UNAVAILABLE)
	if n := p.certificates("operator/eve"); n != 0 {
		t.Errorf("eve has %d certificates", n)
	}
	list, err := p.jobs().ListJobs(t.Context(), &cpv1.ListJobsRequest{})
	if err != nil || len(list.GetJobs()) != 0 {
		t.Errorf("reading the jobs: %v, %v", list.GetJobs(), err)
	}
	p.exec("DROP TRIGGER full")
	if err := create(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	want := []string{"admin/admin CreateServer OK"}
	if got := p.recorded(); !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
}

// What somebody cuts off in the store while the control plane is down is found when it is up.
func TestACutWhileItWasDownIsFound(t *testing.T) {
	t.Parallel()
	w := stillWorld(t)
	p := startPlane(t, t.TempDir(), w)
	for _, name := range []string{"servers/db1", "servers/db2"} {
		if _, err := cpv1.NewEnrollmentServiceClient(p.conn).CreateJoinToken(t.Context(),
			&cpv1.CreateJoinTokenRequest{Server: name}); err != nil {
			t.Fatal(err)
		}
	}
	p.Stop()
	p.exec("DELETE FROM audit_records WHERE seq > 2; UPDATE audit_heads SET seq = 2, hash = " +
		"(SELECT hash FROM audit_records WHERE seq = 2)")
	again := startPlane(t, p.Dir, w)
	found, err := again.audit().VerifyAudit(t.Context(), &cpv1.VerifyAuditRequest{})
	if err != nil || len(found.GetProblems()) != 1 ||
		!strings.Contains(found.GetProblems()[0].GetText(), "record 4 was noted") {
		t.Errorf("found %v, %v", found, err)
	}
}

// What the audit adds to a call that writes once: docs/audit.md has the ratio.
func BenchmarkChangingCall(b *testing.B) {
	for _, with := range []bool{false, true} {
		b.Run(fmt.Sprintf("audit=%v", with), func(b *testing.B) {
			p := newPlane(b)
			if !with {
				p.ForgetCalls()
			}
			tokens := cpv1.NewEnrollmentServiceClient(p.conn)
			for b.Loop() {
				if _, err := tokens.CreateJoinToken(context.Background(),
					&cpv1.CreateJoinTokenRequest{Server: "servers/db1"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
