package chassis_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// closed says whether the server has closed the connection.
func closed(conn net.Conn) bool {
	_, err := conn.Read(make([]byte, 1))
	return errors.Is(err, io.EOF) || strings.Contains(err.Error(), "reset")
}

func TestStrangersLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest]}, func(c *chassis.Config) {
		c.Room.Strangers = 3
	})
	// A caller that is known has its connection already, and another one when a stranger goes.
	client := w.client(identity.ControlPlane())
	call := func() error {
		_, err := client.GetUnit(patience(t), &agentv1.GetUnitRequest{Unit: "a.service"})
		return err
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}
	silent := make([]net.Conn, 4)
	for i := range silent {
		conn, err := net.Dial("tcp", w.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		silent[i] = conn
	}
	if !closed(silent[3]) {
		t.Error("a fourth stranger was let in")
	}
	if err := call(); err != nil {
		t.Error(err)
	}
	silent[0].Close()
	for second := w.client(identity.Operator("ann")); ; {
		_, err := second.GetUnit(patience(t), &agentv1.GetUnitRequest{Unit: "a.service"})
		if err == nil {
			break
		}
		if !errors.Is(err, errs.Unavailable) {
			t.Fatal(err)
		}
	}
}

func TestConnectionsOfOneCallerEnd(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest]}, func(c *chassis.Config) {
		c.Room.PerCaller = 2
	})
	config, err := identity.ClientTLS(identity.ClientConfig{
		Source: w.ca.Source(identity.Operator("ann")), Expect: identity.Agent("db-1")})
	if err != nil {
		t.Fatal(err)
	}
	config.NextProtos = []string{"h2"}
	for i := range 3 {
		conn, err := tls.Dial("tcp", w.address, config)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// The server's settings are the first that it says to whom it lets in.
		_, err = conn.Read(make([]byte, 1))
		if refused := err != nil; refused != (i == 2) {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	if _, err := w.client(identity.Operator("bob")).GetUnit(patience(t),
		&agentv1.GetUnitRequest{Unit: "a.service"}); err != nil {
		t.Error(err)
	}
}

// watched is a service whose watches go on until they are ended.
func watched(began chan<- struct{}) *units {
	return &units{get: ok[*agentv1.GetUnitRequest],
		watch: func(_ *agentv1.WatchUnitsRequest,
			stream grpc.ServerStreamingServer[agentv1.WatchUnitsResponse]) error {
			began <- struct{}{}
			<-stream.Context().Done()
			return nil
		}}
}

func watching(c *chassis.Config) {
	c.Rules[watchUnits] = append(c.Rules[watchUnits], identity.RoleOperator)
}

func TestCallsOfOneCallerLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	began := make(chan struct{}, 3)
	w := serve(t, watched(began), watching, func(c *chassis.Config) { c.Room.Calls = 2 })
	ann := w.client(identity.Operator("ann"))
	ctx, end := context.WithCancel(patience(t))
	for range 2 {
		if _, err := ann.WatchUnits(ctx, &agentv1.WatchUnitsRequest{}); err != nil {
			t.Fatal(err)
		}
		<-began
	}
	get := func(client agentv1.SystemdServiceClient) error {
		_, err := client.GetUnit(patience(t), &agentv1.GetUnitRequest{Unit: "a.service"})
		return err
	}
	if err := get(ann); !errors.Is(err, errs.ResourceExhausted) ||
		errs.HintOf(err).String() == "" {
		t.Errorf("a third call: %v", err)
	}
	for _, other := range []identity.Identity{identity.Operator("bob"), identity.ControlPlane()} {
		if err := get(w.client(other)); err != nil {
			t.Errorf("%s: %v", other, err)
		}
	}
	end()
	for errors.Is(get(ann), errs.ResourceExhausted) {
		if err := patience(t).Err(); err != nil {
			t.Fatal("the room of calls that ended is not given back")
		}
	}
}

// TestACallThatHangsKeepsItsRoom has callers who leave calls that go on, as those do that read from
// a disk which does not answer, over one connection after the other.
func TestACallThatHangsKeepsItsRoom(t *testing.T) {
	t.Parallel()
	began, over, answers := make(chan struct{}), make(chan struct{}), make(chan struct{})
	service := &units{get: func(ctx context.Context, req *agentv1.GetUnitRequest) error {
		if req.GetUnit() == "stuck.mount" {
			began <- struct{}{}
			<-ctx.Done()
			over <- struct{}{}
			<-answers
		}
		return nil
	}}
	w := serve(t, service, func(c *chassis.Config) { c.Room.Calls = 2 })
	for range 2 {
		conn := w.dial(identity.Operator("ann"))
		left := make(chan error, 1)
		go func() {
			_, err := agentv1.NewSystemdServiceClient(conn).GetUnit(patience(t),
				&agentv1.GetUnitRequest{Unit: "stuck.mount"})
			left <- err
		}()
		<-began
		conn.Close()
		<-over
		if err := <-left; err == nil {
			t.Error("the call was answered")
		}
	}
	get := func(who identity.Identity) error {
		_, err := w.client(who).GetUnit(patience(t), &agentv1.GetUnitRequest{Unit: "a.service"})
		return err
	}
	if err := get(identity.Operator("ann")); !errors.Is(err, errs.ResourceExhausted) {
		t.Errorf("a third call: %v", err)
	}
	if err := get(identity.Operator("bob")); err != nil {
		t.Error(err)
	}
	close(answers)
	for errors.Is(get(identity.Operator("ann")), errs.ResourceExhausted) {
		if err := patience(t).Err(); err != nil {
			t.Fatal("the room of calls that hung is not given back")
		}
	}
}

func TestMetadataIsBounded(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest]})
	ctx := metadata.AppendToOutgoingContext(patience(t), "x", strings.Repeat("y", 64<<10))
	if _, err := w.client(identity.ControlPlane()).GetUnit(ctx,
		&agentv1.GetUnitRequest{Unit: "a.service"}); err == nil {
		t.Error("64 KiB of metadata were read")
	}
}

func TestARevokedCallerIsCutOff(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	var revoked atomic.Value
	revoked.Store("")
	w := serve(t, watched(began), watching, func(c *chassis.Config) {
		c.TLS.Revoked = func(serial string) bool { return revoked.Load() == serial }
	})
	ctx, end := context.WithCancel(patience(t))
	defer end()
	serials, ended := map[string]string{}, make(chan string)
	for _, name := range []string{"ann", "bob"} {
		source := w.ca.Source(identity.Operator(name))
		credentials, err := source.Credentials()
		if err != nil {
			t.Fatal(err)
		}
		serials[name] = identity.Serial(credentials.Certificate.Leaf)
		stream, err := agentv1.NewSystemdServiceClient(w.dial(identity.Operator(name),
			func(c *chassis.DialConfig) { c.TLS.Source = source })).WatchUnits(ctx,
			&agentv1.WatchUnitsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		<-began
		go func() {
			_, _ = stream.Recv()
			ended <- name
		}()
	}
	revoked.Store(serials["ann"])
	if first := <-ended; first != "ann" || ctx.Err() != nil {
		t.Errorf("the stream of %s ended", first)
	}
	end()
	<-ended
}

// Who revokes themselves is answered: the connection outlives the first look at it, and no longer.
func TestWhoRevokesThemselvesIsAnswered(t *testing.T) {
	t.Parallel()
	var revoked atomic.Bool
	looked := make(chan struct{}, 1)
	service := &units{get: func(ctx context.Context, _ *agentv1.GetUnitRequest) error {
		revoked.Store(true)
		select {
		case <-looked:
		case <-ctx.Done():
		}
		return ctx.Err()
	}}
	w := serve(t, service, func(c *chassis.Config) {
		c.TLS.Revoked = func(string) bool {
			if !revoked.Load() {
				return false
			}
			select {
			case looked <- struct{}{}:
			default:
			}
			return true
		}
	})
	ann := w.client(identity.Operator("ann"))
	if _, err := ann.GetUnit(patience(t), &agentv1.GetUnitRequest{Unit: "a.service"}); err != nil {
		t.Error(err)
	}
}
