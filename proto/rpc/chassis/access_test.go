package chassis_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestWhoMayCallWhat(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest], start: ok[*agentv1.StartUnitRequest],
		watch: func(*agentv1.WatchUnitsRequest,
			grpc.ServerStreamingServer[agentv1.WatchUnitsResponse]) error {
			return nil
		}},
		func(c *chassis.Config) { c.TLS.AllowAnonymous = true })
	plane, ann, agent := identity.ControlPlane(), identity.Operator("ann"), identity.Agent("db-2")
	calls := map[string]func(*grpc.ClientConn) error{
		"start": func(conn *grpc.ClientConn) error {
			_, err := agentv1.NewSystemdServiceClient(conn).StartUnit(patience(t),
				&agentv1.StartUnitRequest{Unit: "a.service"})
			return err
		},
		"get": func(conn *grpc.ClientConn) error {
			_, err := agentv1.NewSystemdServiceClient(conn).GetUnit(patience(t),
				&agentv1.GetUnitRequest{Unit: "a.service"})
			return err
		},
		"watch": func(conn *grpc.ClientConn) error {
			stream, err := agentv1.NewSystemdServiceClient(conn).WatchUnits(patience(t),
				&agentv1.WatchUnitsRequest{})
			if err != nil {
				return err
			}
			_, err = stream.Recv()
			return ended(err)
		},
		"health": func(conn *grpc.ClientConn) error {
			_, err := healthv1.NewHealthClient(conn).Check(patience(t),
				&healthv1.HealthCheckRequest{Service: "understudy.agent.v1.SystemdService"})
			return err
		},
		"reflection": func(conn *grpc.ClientConn) error { return reflect(t, conn) },
	}
	allowed := map[identity.Identity][]string{
		plane:                {"start", "get", "watch", "health", "reflection"},
		ann:                  {"get", "health", "reflection"},
		agent:                {"health"},
		identity.Anonymous(): {},
	}
	for who, may := range allowed {
		conn := w.dial(orPlane(who), anonymously(who, w))
		for name, call := range calls {
			err := call(conn)
			if contains(may, name) != (err == nil) {
				t.Errorf("%s calls %s: %v", who, name, err)
			}
			if err != nil && !errors.Is(err, errs.PermissionDenied) &&
				!errors.Is(err, errs.Unauthenticated) {
				t.Errorf("%s calls %s: %v", who, name, err)
			}
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}

// anonymously takes the certificate away from a stranger.
func anonymously(who identity.Identity, w *world) func(*chassis.DialConfig) {
	return func(c *chassis.DialConfig) {
		if who == identity.Anonymous() {
			c.TLS.Source = &identity.Static{Roots: w.ca.Pool()}
		}
	}
}

func reflect(t *testing.T, conn *grpc.ClientConn) error {
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(patience(t))
	if err != nil {
		return err
	}
	list := &reflectionv1.ServerReflectionRequest{
		MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(list); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}

func TestNoTLSNoAnswer(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest]})
	conn, err := grpc.NewClient("passthrough:///"+w.address,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := agentv1.NewSystemdServiceClient(conn).GetUnit(patience(t),
		&agentv1.GetUnitRequest{Unit: "a.service"}); err == nil {
		t.Error("an answer without TLS")
	}
	stranger := w.dial(identity.ControlPlane(), anonymously(identity.Anonymous(), w))
	_, err = agentv1.NewSystemdServiceClient(stranger).GetUnit(patience(t),
		&agentv1.GetUnitRequest{Unit: "a.service"})
	if !errors.Is(err, errs.Unavailable) {
		t.Errorf("without a certificate: %v", err)
	}
	if !strings.Contains(errs.HintOf(err).String(), "certificates") {
		t.Errorf("hint %q", errs.HintOf(err).String())
	}
	w.calls()
	if !strings.Contains(w.log.String(), "didn't provide a certificate") {
		t.Error("the log does not say why")
	}
}

func TestRevokedWhileConnected(t *testing.T) {
	t.Parallel()
	revoked := make(chan struct{})
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest]}, func(c *chassis.Config) {
		c.TLS.Revoked = func(string) bool {
			select {
			case <-revoked:
				return true
			default:
				return false
			}
		}
	})
	client := w.client(identity.Operator("ann"))
	if _, err := client.GetUnit(patience(t),
		&agentv1.GetUnitRequest{Unit: "a.service"}); err != nil {
		t.Fatal(err)
	}
	close(revoked)
	_, err := client.GetUnit(patience(t), &agentv1.GetUnitRequest{Unit: "a.service"})
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
		t.Error(err)
	}
}

func TestAStrangerReadsNothingOfTheInside(t *testing.T) {
	t.Parallel()
	table := rules()
	table[getUnit] = []identity.Role{identity.RoleAnonymous}
	w := serve(t, &units{get: func(context.Context, *agentv1.GetUnitRequest) error {
		return errors.New("cannot read /var/lib/secret")
	}}, func(c *chassis.Config) { c.TLS.AllowAnonymous, c.Rules = true, table })
	stranger := w.dial(identity.ControlPlane(), anonymously(identity.Anonymous(), w))
	_, err := agentv1.NewSystemdServiceClient(stranger).GetUnit(patience(t),
		&agentv1.GetUnitRequest{Unit: "a.service"})
	if !errors.Is(err, errs.Internal) || err.Error() != "internal error" ||
		errs.MetaOf(err)["request_id"] == "" {
		t.Errorf("%v %v", err, errs.MetaOf(err))
	}
	if lines := w.calls(); lines[0]["error"] != "cannot read /var/lib/secret" ||
		lines[0]["level"] != "ERROR" {
		t.Errorf("%v", lines)
	}
}

// orPlane is who, or somebody with a certificate to take away.
func orPlane(who identity.Identity) identity.Identity {
	if who == identity.Anonymous() {
		return identity.ControlPlane()
	}
	return who
}
