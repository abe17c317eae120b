package chassis_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestOneLineACallWithoutItsBody(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest]})
	var header metadata.MD
	ctx := chassis.WithRequestID(patience(t), "req-1")
	_, err := w.client(identity.Operator("ann")).GetUnit(ctx,
		&agentv1.GetUnitRequest{Unit: "very-private"}, grpc.Header(&header))
	if err != nil {
		t.Fatal(err)
	}
	if got := header.Get("x-request-id"); len(got) != 1 || got[0] != "req-1" {
		t.Errorf("request id %v", got)
	}
	lines := w.calls()
	if len(lines) != 1 {
		t.Fatalf("%d lines", len(lines))
	}
	want := map[string]any{"method": getUnit, "code": "OK",
		"peer": "spiffe://understudy/operator/ann", "request_id": "req-1", "level": "DEBUG"}
	for key, value := range want {
		if lines[0][key] != value {
			t.Errorf("%s is %v, want %v", key, lines[0][key], value)
		}
	}
	if strings.Contains(w.log.String(), "very-private") {
		t.Error("the request is in the log")
	}
}

func TestChecksOfTheServer(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest]}, func(c *chassis.Config) {
		c.Checks = []chassis.Check{func(ctx context.Context, m proto.Message) error {
			unit := m.(*agentv1.GetUnitRequest).GetUnit()
			chassis.Annotate(ctx, slog.String("unit", unit))
			if unit == "bad" {
				return errs.New(errs.Aborted, errorsv1.Reason_REASON_STALE_EPOCH, "refused")
			}
			return nil
		}}
	})
	client := w.client(identity.ControlPlane())
	for _, unit := range []string{"good", "bad"} {
		_, err := client.GetUnit(patience(t), &agentv1.GetUnitRequest{Unit: unit})
		if (unit == "bad") != errors.Is(err, errs.Aborted) {
			t.Errorf("%s: %v", unit, err)
		}
	}
	if lines := w.calls(); lines[0]["unit"] != "good" || lines[1]["unit"] != "bad" {
		t.Errorf("%v", lines)
	}
}

func TestRequestIDsAreMadeAndPassedOn(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 3)
	inner := serve(t, &units{get: func(ctx context.Context, _ *agentv1.GetUnitRequest) error {
		seen <- chassis.RequestID(ctx)
		return nil
	}})
	behind := inner.client(identity.ControlPlane())
	outer := serve(t, &units{get: func(ctx context.Context, req *agentv1.GetUnitRequest) error {
		seen <- chassis.RequestID(ctx)
		_, err := behind.GetUnit(ctx, req)
		return err
	}})
	if _, err := outer.client(identity.ControlPlane()).GetUnit(patience(t),
		&agentv1.GetUnitRequest{Unit: "a.service"}); err != nil {
		t.Fatal(err)
	}
	first, second := <-seen, <-seen
	if first == "" || first != second {
		t.Errorf("request ids %q and %q", first, second)
	}
	evil := metadata.AppendToOutgoingContext(patience(t), "x-request-id", "a b\"c")
	if _, err := behind.GetUnit(evil, &agentv1.GetUnitRequest{Unit: "a.service"}); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; strings.Contains(got, " ") {
		t.Errorf("took the id %q", got)
	}
	if chassis.RequestID(context.Background()) != "" ||
		chassis.Draining(context.Background()) != nil {
		t.Error("outside a call")
	}
}

func TestErrorsCrossTheWire(t *testing.T) {
	t.Parallel()
	masked := errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_UNIT_MASKED,
		"unit mariadb.service is masked",
		errs.WithHint("unmask it"), errs.Meta("unit", "mariadb.service"))
	w := serve(t, &units{
		start: func(context.Context, *agentv1.StartUnitRequest) error { return masked },
		watch: func(*agentv1.WatchUnitsRequest,
			grpc.ServerStreamingServer[agentv1.WatchUnitsResponse]) error {
			return masked
		},
	})
	client := w.client(identity.ControlPlane())
	_, unaryErr := client.StartUnit(patience(t), &agentv1.StartUnitRequest{Unit: "a.service"})
	stream, err := client.WatchUnits(patience(t), &agentv1.WatchUnitsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, streamErr := stream.Recv()
	for name, err := range map[string]error{"unary": unaryErr, "stream": streamErr} {
		if !errors.Is(err, errs.FailedPrecondition) ||
			errs.ReasonOf(err) != errorsv1.Reason_REASON_UNIT_MASKED ||
			errs.HintOf(err).String() != "unmask it" ||
			errs.MetaOf(err)["unit"] != "mariadb.service" ||
			errs.MetaOf(err)["request_id"] == "" {
			t.Errorf("%s: %v %v", name, err, errs.MetaOf(err))
		}
		if err.Error() != masked.Error() {
			t.Errorf("%s: %q", name, err)
		}
	}
	for _, line := range w.calls() {
		if line["level"] != "INFO" || line["error"] != masked.Error() {
			t.Errorf("%v", line)
		}
	}
}

func TestAPanicIsAnErrorAndTheServerGoesOn(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{
		get:   ok[*agentv1.GetUnitRequest],
		start: func(context.Context, *agentv1.StartUnitRequest) error { panic("oh no") },
		watch: func(*agentv1.WatchUnitsRequest,
			grpc.ServerStreamingServer[agentv1.WatchUnitsResponse]) error {
			panic("oh no")
		},
	})
	client := w.client(identity.ControlPlane())
	_, unaryErr := client.StartUnit(patience(t), &agentv1.StartUnitRequest{Unit: "a.service"})
	stream, err := client.WatchUnits(patience(t), &agentv1.WatchUnitsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, streamErr := stream.Recv()
	for _, err := range []error{unaryErr, streamErr} {
		if !errors.Is(err, errs.Internal) || strings.Contains(err.Error(), "goroutine") {
			t.Error(err)
		}
	}
	if _, err := client.GetUnit(patience(t),
		&agentv1.GetUnitRequest{Unit: "a.service"}); err != nil {
		t.Error(err)
	}
	w.calls()
	if !strings.Contains(w.log.String(), "chassis_test.go") &&
		!strings.Contains(w.log.String(), "call_test.go") {
		t.Error("no stack in the log")
	}
}

func TestUnaryCallsHaveAnEnd(t *testing.T) {
	t.Parallel()
	left := make(chan time.Duration, 3)
	w := serve(t, &units{get: func(ctx context.Context, _ *agentv1.GetUnitRequest) error {
		end, has := ctx.Deadline()
		if !has {
			return errors.New("no deadline")
		}
		left <- time.Until(end)
		return nil
	}}, func(c *chassis.Config) {
		c.Deadline, c.Deadlines = time.Hour, map[string]time.Duration{startUnit: 2 * time.Hour}
	})
	// A client of another make sends no deadline.
	conn := w.dial(identity.ControlPlane(),
		func(c *chassis.DialConfig) { c.Deadline = 3 * time.Hour })
	if _, err := agentv1.NewSystemdServiceClient(conn).GetUnit(context.Background(),
		&agentv1.GetUnitRequest{Unit: "a.service"}); err != nil {
		t.Fatal(err)
	}
	if got := <-left; got < 2*time.Hour || got > 3*time.Hour {
		t.Errorf("the caller's deadline became %v", got)
	}
}

func TestUnreachableSaysWho(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := serve(t, &units{})
	listener.Close()
	conn := w.dial(identity.ControlPlane(),
		func(c *chassis.DialConfig) { c.Address = listener.Addr().String() })
	_, err = agentv1.NewSystemdServiceClient(conn).GetUnit(patience(t),
		&agentv1.GetUnitRequest{Unit: "a.service"})
	if !errors.Is(err, errs.Unavailable) ||
		errs.ReasonOf(err) != errorsv1.Reason_REASON_AGENT_UNREACHABLE ||
		!strings.Contains(err.Error(), "agent/db-1 at 127.0.0.1") ||
		errs.HintOf(err).String() == "" {
		t.Error(err)
	}
}

func TestTooLargeARequest(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest]},
		func(c *chassis.Config) { c.MaxMessageBytes = 1 << 10 })
	_, err := w.client(identity.ControlPlane()).GetUnit(patience(t),
		&agentv1.GetUnitRequest{Unit: strings.Repeat("x", 1<<12)})
	if !errors.Is(err, errs.ResourceExhausted) {
		t.Error(err)
	}
}

func TestRequestsAreCheckedBeforeTheirHandler(t *testing.T) {
	t.Parallel()
	never := func() error { t.Error("executed"); return nil }
	w := serve(t, &units{
		get: func(context.Context, *agentv1.GetUnitRequest) error { return never() },
		watch: func(*agentv1.WatchUnitsRequest,
			grpc.ServerStreamingServer[agentv1.WatchUnitsResponse]) error {
			return never()
		},
	}, func(c *chassis.Config) {
		c.Checks = []chassis.Check{func(_ context.Context, msg proto.Message) error {
			v := errs.Fields{}
			r, ok := msg.(*agentv1.GetUnitRequest)
			v.Require("unit", !ok || strings.HasSuffix(r.GetUnit(), ".service"),
				"must be a service")
			return v.Err()
		}}
	})
	client := w.client(identity.ControlPlane())
	_, hygieneErr := client.GetUnit(patience(t), &agentv1.GetUnitRequest{Unit: "a\nb.service"})
	_, validatorErr := client.GetUnit(patience(t), &agentv1.GetUnitRequest{Unit: "a.mount"})
	for _, err := range []error{hygieneErr, validatorErr} {
		if fields := errs.FieldsOf(err); !errors.Is(err, errs.InvalidArgument) ||
			len(fields) != 1 || fields[0].Field != "unit" {
			t.Errorf("%v %v", err, fields)
		}
	}
	stream, err := client.WatchUnits(patience(t),
		&agentv1.WatchUnitsRequest{Units: []string{"ok", "\x00"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	if fields := errs.FieldsOf(err); len(fields) != 1 || fields[0].Field != "units[1]" {
		t.Errorf("%v %v", err, fields)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest]},
		func(c *chassis.Config) { c.Metrics = registry })
	if _, err := w.client(identity.ControlPlane()).GetUnit(patience(t),
		&agentv1.GetUnitRequest{Unit: "a.service"}); err != nil {
		t.Fatal(err)
	}
	w.calls()
	families, err := registry.Gather()
	if err != nil || len(families) != 1 ||
		families[0].GetMetric()[0].GetHistogram().GetSampleCount() != 1 {
		t.Errorf("%v %v", families, err)
	}
}

func TestStatusOfAPlainClient(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{start: func(context.Context, *agentv1.StartUnitRequest) error {
		return errs.New(errs.Aborted, errorsv1.Reason_REASON_JOB_BUSY, "job jobs/1 holds db-1",
			errs.WithHint("wait for it"))
	}})
	_, err := w.client(identity.ControlPlane()).StartUnit(patience(t),
		&agentv1.StartUnitRequest{Unit: "a.service"})
	if got := status.Convert(err).Message(); got != "job jobs/1 holds db-1; hint: wait for it" {
		t.Errorf("%q", got)
	}
}
