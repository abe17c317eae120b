package app_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const nobody = 65534

// breakGlass calls the plane over its socket.
func breakGlass(t *testing.T, path string) cpv1.EnrollmentServiceClient {
	t.Helper()
	conn, err := chassis.DialLocal(path, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return cpv1.NewEnrollmentServiceClient(conn)
}

func (p *plane) socket() string { return filepath.Join(p.Dir, "break-glass.sock") }

// The last admin is revoked, a restart brings none back, and root makes another.
func TestBreakGlassLetsAnAdminInAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startPlane(t, dir, stillWorld(t))
	answer, err := cpv1.NewEnrollmentServiceClient(p.conn).Revoke(t.Context(),
		&cpv1.RevokeRequest{Name: "operators/admin", Reason: "stolen"})
	if err != nil || !answer.GetNoAdminLeft() {
		t.Fatalf("revoked %v: %v", answer, err)
	}
	p.Stop()
	p = startPlane(t, dir, stillWorld(t))
	_, err = p.servers().ListServers(t.Context(), &cpv1.ListServersRequest{})
	refused(t, err, errs.Unavailable, 0)

	root := breakGlass(t, p.socket())
	key, request := p.newKey()
	made, err := root.CreateOperator(t.Context(), &cpv1.CreateOperatorRequest{
		Name: "operators/ada", Role: cpv1.OperatorRole_OPERATOR_ROLE_ADMIN, Csr: request})
	if err != nil {
		t.Fatal(err)
	}
	p.conn = p.Dial(p.source(key, made.GetCertificate().GetCertificatePem()))
	all, err := cpv1.NewEnrollmentServiceClient(p.conn).ListOperators(t.Context(),
		&cpv1.ListOperatorsRequest{})
	if err != nil || len(all.GetOperators()) != 2 ||
		all.GetOperators()[0].GetState() != cpv1.Operator_STATE_VALID ||
		all.GetOperators()[1].GetState() != cpv1.Operator_STATE_REVOKED {
		t.Errorf("operators %v: %v", all, err)
	}
	events, err := p.jobs().ListEvents(t.Context(),
		&cpv1.ListEventsRequest{Action: "operator.create"})
	if want := identity.BreakGlass(uint32(os.Geteuid())).String(); err != nil ||
		len(events.GetEvents()) != 1 || events.GetEvents()[0].GetActor() != want {
		t.Errorf("events %v, want one of %s: %v", events, want, err)
	}
}

// The mode of the socket and of its folder would keep nobody out as well: here they let everybody
// in, and what the kernel says of the caller counts.
func TestBreakGlassRefusesAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, which alone can become another user; TestOtherUsersAreKeptOut and " +
			"TestBreakGlassIsForItsUsers need nothing")
	}
	p := newPlane(t)
	if info, err := os.Stat(p.socket()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600: %v", info.Mode(), err)
	}
	for path, mode := range map[string]os.FileMode{p.socket(): 0o777, p.Dir: 0o755,
		filepath.Dir(p.Dir): 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for uid, want := range map[uint32]string{0: "it is answered", nobody: "it is refused"} {
		child := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run",
			"^TestChildCallsBreakGlass$", "-test.v")
		child.Env = append(os.Environ(), childsSocket+"="+p.socket())
		child.Dir = "/"
		child.SysProcAttr = &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := child.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("uid %d, want %q: %v\n%s", uid, want, err, out)
		}
	}
}

// childsSocket is the variable that makes TestChildCallsBreakGlass the child of another test.
const childsSocket = "BREAK_GLASS_OF_PARENT"

func TestChildCallsBreakGlass(t *testing.T) {
	path := os.Getenv(childsSocket)
	if path == "" {
		return
	}
	_, err := breakGlass(t, path).ListOperators(t.Context(), &cpv1.ListOperatorsRequest{})
	switch {
	case err == nil:
		t.Log("it is answered")
	case errs.KindOf(err) == errs.Unavailable:
		t.Log("it is refused:", err)
	default:
		t.Error(err)
	}
}

// Control planes that share a state directory take the socket over from each other, and leave that
// of another one alone when they end.
func TestTheNewestControlPlaneHasTheSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startPlane(t, dir, stillWorld(t))
	second := startPlane(t, dir, stillWorld(t))
	first.Stop()
	if _, err := breakGlass(t, first.socket()).ListOperators(t.Context(),
		&cpv1.ListOperatorsRequest{}); err != nil {
		t.Errorf("the second is not reached: %v", err)
	}
	second.Stop()
	if _, err := os.Lstat(first.socket()); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}
