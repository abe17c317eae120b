package chassis_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // which the programs have
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// TestAnswersThatNobodyReadTakeRoom has a caller who reads none of its answers. It is refused until
// it has read them, or given them up. Others are served meanwhile.
func TestAnswersThatNobodyReadTakeRoom(t *testing.T) {
	t.Parallel()
	for name, relents := range map[string]func(*deaf){
		"until it reads them":       func(d *deaf) { d.reads() },
		"until it resets its calls": func(d *deaf) { d.resets() },
		"until its connection ends": func(d *deaf) {
			d.conn.Close()
			d.collect = runtime.GC // what waits is garbage then
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serve(t, &units{get: ok[*agentv1.GetUnitRequest], watch: large(100 << 10)},
				watching, func(c *chassis.Config) {
					c.Room.Unread, c.Room.UnreadWait = 256<<10, time.Second/10
				})
			d := w.deaf(identity.Operator("ann"))
			for range 10 {
				d.calls(watchUnits, &agentv1.WatchUnitsRequest{})
			}
			ann := w.client(identity.Operator("ann"))
			var err error
			for err == nil {
				err = asks(t, ann)
			}
			if !errors.Is(err, errs.ResourceExhausted) ||
				!strings.Contains(err.Error(), "does not read the answers") {
				t.Fatal(err)
			}
			if err := asks(t, w.client(identity.Operator("bob"))); err != nil {
				t.Error(err)
			}
			relents(d)
			for deadline := patience(t); asks(t, ann) != nil; d.collect() {
				if deadline.Err() != nil {
					t.Fatal("the room of answers is not given back")
				}
			}
		})
	}
}

// TestStrangersShareTheRoomOfTheirAddress: those without a certificate have less, all of an address
// together.
func TestStrangersShareTheRoomOfTheirAddress(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest]}, func(c *chassis.Config) {
		c.TLS.AllowAnonymous = true
		c.Rules[getUnit] = append(c.Rules[getUnit], identity.RoleAnonymous)
		c.Room.StrangersUnread, c.Room.UnreadWait = 64<<10, time.Second/10
	})
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	d := w.deafBy(config)
	for range 16 {
		d.calls(getUnit, &agentv1.GetUnitRequest{Unit: "a.service"})
		d.headers()
	}
	conn, err := grpc.NewClient(w.address,
		grpc.WithTransportCredentials(credentials.NewTLS(config)))
	must(t, err)
	defer conn.Close()
	if err := asks(t, agentv1.NewSystemdServiceClient(conn)); status.Code(err) !=
		codes.ResourceExhausted {
		t.Errorf("another of the address: %v", err)
	}
	must(t, asks(t, w.client(identity.Operator("ann"))))
}

// TestManyAnswersAtATimeAreRead has a caller who asks for far more at a time than it has room for,
// and reads it.
func TestManyAnswersAtATimeAreRead(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest], watch: large(100 << 10)}, watching,
		func(c *chassis.Config) { c.Room.Unread = 64 << 10 })
	ann := w.client(identity.Operator("ann"))
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := asks(t, ann); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			stream, err := ann.WatchUnits(patience(t), &agentv1.WatchUnitsRequest{})
			if err == nil {
				_, err = stream.Recv()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestSmallAnswersTakeLittleRoom: what was kept for them is given back once they are made.
func TestSmallAnswersTakeLittleRoom(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest]},
		func(c *chassis.Config) { c.Room.Unread = 128 << 10 })
	d := w.deaf(identity.Operator("ann"))
	for range 10 {
		d.calls(getUnit, &agentv1.GetUnitRequest{Unit: "a.service"})
		d.headers() // it is made
	}
	must(t, asks(t, w.client(identity.Operator("ann"))))
}

// TestAnAnswerThatIsNotGivenTakesNoRoom has calls that fail, and one that panics.
func TestAnAnswerThatIsNotGivenTakesNoRoom(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{get: func(_ context.Context, req *agentv1.GetUnitRequest) error {
		switch req.GetUnit() {
		case "panics.service":
			panic("no")
		case "fails.service":
			return errors.New("no")
		}
		return nil
	}}, func(c *chassis.Config) { c.Room.Unread, c.Room.UnreadWait = 64<<10, time.Minute })
	ann := w.client(identity.Operator("ann"))
	for _, unit := range []string{"panics.service", "fails.service"} {
		if _, err := ann.GetUnit(patience(t), &agentv1.GetUnitRequest{Unit: unit}); err == nil {
			t.Errorf("%s was answered", unit)
		}
	}
	must(t, asks(t, ann))
}

// TestAnswersAreNotCompressed: of a compressed one nobody would know when it was sent.
func TestAnswersAreNotCompressed(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{get: ok[*agentv1.GetUnitRequest]})
	d := w.deaf(identity.Operator("ann"))
	d.calls(getUnit, &agentv1.GetUnitRequest{Unit: "a.service"}, "grpc-encoding", "gzip",
		"grpc-accept-encoding", "gzip")
	answer := d.headers()
	if encoding, said := answer["grpc-encoding"]; said && encoding != "identity" {
		t.Errorf("the answer is %v", answer)
	}
}

func asks(t *testing.T, client agentv1.SystemdServiceClient) error {
	t.Helper()
	_, err := client.GetUnit(patience(t), &agentv1.GetUnitRequest{Unit: "a.service"})
	return err
}

// large is a watch that ends with an answer of so many bytes.
func large(size int) func(*agentv1.WatchUnitsRequest,
	grpc.ServerStreamingServer[agentv1.WatchUnitsResponse]) error {
	return func(_ *agentv1.WatchUnitsRequest,
		stream grpc.ServerStreamingServer[agentv1.WatchUnitsResponse]) error {
		return stream.Send(&agentv1.WatchUnitsResponse{Unit: &agentv1.Unit{
			Name: strings.Repeat("n", size)}})
	}
}

// deaf is a caller that has no room for answers.
type deaf struct {
	t      *testing.T
	conn   net.Conn
	framer *http2.Framer
	next   uint32
	// collect is called while the room is waited for.
	collect func()
}

func (w *world) deaf(as identity.Identity) *deaf {
	w.t.Helper()
	config, err := identity.ClientTLS(identity.ClientConfig{
		Source: w.ca.Source(as), Expect: identity.Agent("db-1")})
	must(w.t, err)
	config.NextProtos = []string{"h2"}
	return w.deafBy(config)
}

func (w *world) deafBy(config *tls.Config) *deaf {
	w.t.Helper()
	conn, err := tls.Dial("tcp", w.address, config)
	must(w.t, err)
	w.t.Cleanup(func() { conn.Close() })
	must(w.t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, http2.ClientPreface)
	must(w.t, err)
	d := &deaf{t: w.t, conn: conn, framer: http2.NewFramer(conn, conn), next: 1,
		collect: func() {}}
	d.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	must(w.t, d.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
	return d
}

func (d *deaf) calls(method string, request proto.Message, more ...string) {
	d.t.Helper()
	body, err := proto.Marshal(request)
	must(d.t, err)
	fields := append([]string{":method", "POST", ":scheme", "https", ":path", method,
		":authority", "x", "content-type", "application/grpc", "te", "trailers"}, more...)
	must(d.t, d.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: d.next, EndHeaders: true,
		BlockFragment: headers(fields...)}))
	must(d.t, d.framer.WriteData(d.next, true,
		append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)))
	d.next += 2
}

func (d *deaf) reads() {
	must(d.t, d.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize,
		Val: 1 << 20}))
	must(d.t, d.framer.WriteWindowUpdate(0, 1<<24))
	go func() { _, _ = io.Copy(io.Discard, d.conn) }()
}

func (d *deaf) resets() {
	for stream := uint32(1); stream < d.next; stream += 2 {
		must(d.t, d.framer.WriteRSTStream(stream, http2.ErrCodeCancel))
	}
}

// headers are those of the next answer.
func (d *deaf) headers() map[string]string {
	d.t.Helper()
	for {
		frame, err := d.framer.ReadFrame()
		must(d.t, err)
		if answer, is := frame.(*http2.MetaHeadersFrame); is {
			fields := map[string]string{}
			for _, f := range answer.Fields {
				fields[f.Name] = f.Value
			}
			return fields
		}
	}
}
