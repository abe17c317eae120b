package chassis_test

import (
	"context"
	"testing"
	"time"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// TestHealthTellsOfACallThatHangs has a handler that goes on after its caller left, as one does
// that reads from a disk which does not answer.
func TestHealthTellsOfACallThatHangs(t *testing.T) {
	t.Parallel()
	began, answers := make(chan struct{}), make(chan struct{})
	service := &units{get: func(context.Context, *agentv1.GetUnitRequest) error {
		close(began)
		<-answers
		return nil
	}}
	w := serve(t, service, func(c *chassis.Config) { c.HangsAfter = 10 * time.Millisecond })
	conn := w.dial(identity.ControlPlane())
	health := healthv1.NewHealthClient(conn)
	become := func(service string, want healthv1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		watch, err := health.Watch(patience(t), &healthv1.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		for {
			now, err := watch.Recv()
			if err != nil {
				t.Fatalf("%q did not become %s: %v", service, want, err)
			}
			if now.GetStatus() == want {
				return
			}
		}
	}
	const serving = healthv1.HealthCheckResponse_SERVING
	become("", serving)
	ctx, leave := context.WithCancel(patience(t))
	called := make(chan error, 1)
	go func() {
		_, err := agentv1.NewSystemdServiceClient(conn).GetUnit(ctx,
			&agentv1.GetUnitRequest{Unit: "mariadb.service"})
		called <- err
	}()
	<-began
	leave()
	if err := <-called; err == nil {
		t.Error("the call was answered")
	}
	name := agentv1.SystemdService_ServiceDesc.ServiceName
	become(name, healthv1.HealthCheckResponse_NOT_SERVING)
	become("", healthv1.HealthCheckResponse_NOT_SERVING)
	become(healthv1.Health_ServiceDesc.ServiceName, serving)
	if method, since := w.server.Hanging(); method != getUnit || since.IsZero() {
		t.Errorf("%s hangs since %s", method, since)
	}
	close(answers)
	become("", serving)
	become(name, serving)
	if method, _ := w.server.Hanging(); method != "" {
		t.Errorf("%s still hangs", method)
	}
}
