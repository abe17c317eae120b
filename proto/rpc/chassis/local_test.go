package chassis_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// local is a server on a socket for those users, whom the rules let look, and a connection of this
// process to it.
func local(t *testing.T, users ...uint32) (*world, *grpc.ClientConn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest], start: ok[*agentv1.StartUnitRequest]},
		func(c *chassis.Config) {
			c.Listener.Close()
			c.Listener, c.LocalUsers, c.TLS = listener, users, identity.ServerConfig{}
			c.Rules[getUnit] = append(c.Rules[getUnit], identity.RoleBreakGlass)
		})
	conn, err := chassis.DialLocal(path, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return w, conn
}

func TestBreakGlassCallsWhatItMayAndIsLogged(t *testing.T) {
	t.Parallel()
	w, conn := local(t, uint32(os.Geteuid()))
	client := agentv1.NewSystemdServiceClient(conn)
	if _, err := client.GetUnit(patience(t),
		&agentv1.GetUnitRequest{Unit: "a.service"}); err != nil {
		t.Fatal(err)
	}
	_, err := client.StartUnit(patience(t), &agentv1.StartUnitRequest{Unit: "a.service"})
	if !errors.Is(err, errs.PermissionDenied) ||
		!strings.Contains(errs.HintOf(err).String(), "controlplane") {
		t.Errorf("%v, hint %q", err, errs.HintOf(err).String())
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	log := w.log.String()
	for _, want := range []string{`"WARN","msg":"break-glass is used"`,
		`"WARN","msg":"break-glass call","method":"` + getUnit + `","code":"OK"`,
		`"code":"PermissionDenied"`, identity.BreakGlass(uint32(os.Geteuid())).String() + " pid "} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
}

func TestBreakGlassIsForItsUsers(t *testing.T) {
	t.Parallel()
	w, conn := local(t, uint32(os.Geteuid())+1)
	_, err := agentv1.NewSystemdServiceClient(conn).GetUnit(patience(t),
		&agentv1.GetUnitRequest{Unit: "a.service"})
	if !errors.Is(err, errs.Unavailable) ||
		!strings.Contains(errs.HintOf(err).String(), "as root") {
		t.Errorf("%v, hint %q", err, errs.HintOf(err).String())
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if log := w.log.String(); !strings.Contains(log, "may not use this socket") ||
		strings.Contains(log, "break-glass call") {
		t.Errorf("log:\n%s", log)
	}
}
