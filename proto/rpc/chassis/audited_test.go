package chassis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// records keeps what a server records, unless its disk is full.
type records struct {
	mu   sync.Mutex
	all  []audit.Record
	full bool
}

func (r *records) Append(_ context.Context, one audit.Record) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full {
		return 0, errors.New("no space left on device")
	}
	one.Seq = int64(len(r.all) + 1)
	r.all = append(r.all, one)
	return one.Seq, nil
}

// said is what the records say, without what differs from run to run.
func (r *records) said() (lines []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.all {
		lines = append(lines, fmt.Sprintf("%s %s %s %s%s", one.Kind, one.Who, one.Code, one.Reason,
			one.Parameters))
	}
	return lines
}

func (r *records) log(t *testing.T) *audit.Log {
	log, err := audit.New(audit.Config{Sink: r, Key: audit.Key("key")})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func start(t *testing.T, conn *grpc.ClientConn, unit string) error {
	_, err := agentv1.NewSystemdServiceClient(conn).StartUnit(patience(t),
		&agentv1.StartUnitRequest{Unit: unit})
	return err
}

func TestChangingCallsAreRecorded(t *testing.T) {
	t.Parallel()
	kept := &records{}
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest],
		start: func(ctx context.Context, req *agentv1.StartUnitRequest) error {
			if kept.said()[len(kept.said())-1] != "begin spiffe://understudy/controlplane "+
				` {"unit":"`+req.GetUnit()+`"}` {
				t.Errorf("the handler runs after %q", kept.said())
			}
			if req.GetUnit() == "panic.service" {
				panic("at the disco")
			}
			return nil
		}}, func(c *chassis.Config) { c.Audit, c.TLS.AllowAnonymous = kept.log(t), true })
	conn := w.dial(identity.ControlPlane())
	if err := start(t, conn, "a.service"); err != nil {
		t.Error(err)
	}
	if err := start(t, conn, "panic.service"); !errors.Is(err, errs.Internal) {
		t.Error(err)
	}
	if err := start(t, conn, ""); !errors.Is(err, errs.InvalidArgument) {
		t.Error(err)
	}
	if err := start(t, w.dial(identity.Operator("ann")), "b.service"); !errors.Is(err,
		errs.PermissionDenied) {
		t.Error(err)
	}
	stranger := w.dial(identity.ControlPlane(), anonymously(identity.Anonymous(), w))
	if err := start(t, stranger, "c.service"); !errors.Is(err, errs.Unauthenticated) {
		t.Error(err)
	}
	if _, err := agentv1.NewSystemdServiceClient(conn).GetUnit(patience(t),
		&agentv1.GetUnitRequest{Unit: "a.service"}); err != nil {
		t.Error(err)
	}
	want := []string{
		`begin spiffe://understudy/controlplane  {"unit":"a.service"}`,
		`end  OK `,
		`begin spiffe://understudy/controlplane  {"unit":"panic.service"}`,
		`end  Internal INTERNAL`,
		`refused spiffe://understudy/controlplane InvalidArgument INVALID_FIELD{}`,
		`refused spiffe://understudy/operator/ann PermissionDenied NOT_ALLOWED` +
			`{"unit":"b.service"}`,
		`refused anonymous Unauthenticated UNAUTHENTICATED{"unit":"c.service"}`,
	}
	if got := kept.said(); !slices.Equal(got, want) {
		t.Errorf("recorded\n%q\nwant\n%q", got, want)
	}
	for _, one := range kept.all {
		if one.Kind != audit.End && (one.Address == "" || one.Method != startUnit ||
			one.RequestID == "" || (one.Who == "anonymous") != (one.Serial == "")) {
			t.Errorf("record %+v", one)
		}
	}
}

func TestNoChangeWithoutItsRecord(t *testing.T) {
	t.Parallel()
	kept := &records{full: true}
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest],
		start: func(context.Context, *agentv1.StartUnitRequest) error {
			t.Error("the handler ran")
			return nil
		}}, func(c *chassis.Config) { c.Audit = kept.log(t) })
	conn := w.dial(identity.ControlPlane())
	err := start(t, conn, "a.service")
	if !errors.Is(err, errs.Unavailable) || errs.HintOf(err).String() == "" ||
		errs.ReasonOf(err) != errorsv1.Reason_REASON_AUDIT_UNAVAILABLE {
		t.Errorf("%v", err)
	}
	if _, err := agentv1.NewSystemdServiceClient(conn).GetUnit(patience(t),
		&agentv1.GetUnitRequest{Unit: "a.service"}); err != nil {
		t.Errorf("a read: %v", err)
	}
}

// A stream is recorded with its first request; a stranger's call once its handler believes it.
func TestStreamsAndStrangersAreRecorded(t *testing.T) {
	t.Parallel()
	kept := &records{}
	believed := true
	w := serve(t, &units{start: func(ctx context.Context, _ *agentv1.StartUnitRequest) error {
		if !believed {
			return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_INVALID, "no")
		}
		if n := len(kept.said()); n != 0 {
			t.Errorf("%d records before the caller is believed", n)
		}
		return errors.Join(chassis.Intend(ctx), chassis.Intend(ctx))
	}}, func(c *chassis.Config) {
		c.Audit, c.TLS.AllowAnonymous = kept.log(t), true
		c.Rules[startUnit] = []identity.Role{identity.RoleAnonymous}
	})
	stranger := w.dial(identity.ControlPlane(), anonymously(identity.Anonymous(), w))
	if err := start(t, stranger, "a.service"); err != nil {
		t.Error(err)
	}
	believed = false
	if err := start(t, stranger, "b.service"); !errors.Is(err, errs.PermissionDenied) {
		t.Error(err)
	}
	stream, err := agentv1.NewSystemdServiceClient(w.dial(identity.ControlPlane())).EnsureUnit(
		patience(t), &agentv1.EnsureUnitRequest{Unit: "c.service"})
	if err == nil {
		_, err = stream.Recv()
	}
	if !errors.Is(err, errs.Unimplemented) {
		t.Error(err)
	}
	want := []string{
		`begin anonymous  {"unit":"a.service"}`, `end  OK `,
		`refused anonymous PermissionDenied TOKEN_INVALID{"unit":"b.service"}`,
		`begin spiffe://understudy/controlplane  {"unit":"c.service"}`,
		`end  Unimplemented UNIMPLEMENTED`,
	}
	if got := kept.said(); !slices.Equal(got, want) {
		t.Errorf("recorded\n%q\nwant\n%q", got, want)
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]bool{startUnit: true, getUnit: false, watchUnits: false,
		"/understudy.agent.v1.SystemdService/NotKnown": true, "/a/B": true,
		"/grpc.health.v1.Health/Check": false} {
		if authz.Changes(method) != want {
			t.Errorf("%s: %v", method, !want)
		}
	}
	for method := range authz.Infrastructure() {
		if authz.Changes(method) {
			t.Errorf("%s changes something", method)
		}
	}
}
