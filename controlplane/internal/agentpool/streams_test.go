package agentpool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const nonce = "0123456789abcdef0123456789abcdef"

type holdServer = grpc.BidiStreamingServer[agentv1.QuiesceRequest,
	agentv1.QuiesceResponse]

var onBehalf = kit.FencingToken{Job: "jobs/1", Epoch: 3, EffectKey: "1/hold/1"}

// holding runs an agent with that hold and asks it for one.
func holding(t *testing.T, ctx context.Context, serve func(holdServer) error,
	progress kit.Progress) (kit.Quiesced, *agent, error) {
	t.Helper()
	f := newFleet(t)
	running := f.db1(&agent{mariadb: mariadbService{hold: serve}})
	a, err := f.pool.Agent(t.Context(), "db1")
	if err != nil {
		t.Fatal(err)
	}
	h, err := a.Quiesce(ctx, kit.Quiesce{Mode: inventory.ModeOnline, Limit: 5 * time.Second,
		LockWait: time.Second, Nonce: nonce, Freeze: true, Token: onBehalf}, progress)
	return h, running, err
}

// reach sends progress and the point.
func reach(stream holdServer) (*agentv1.QuiesceRequest, error) {
	first, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	for _, m := range []*agentv1.QuiesceResponse{
		{Progress: "taking locks"},
		{Point: &agentv1.ConsistentPoint{Role: agentv1.ServerRole_SERVER_ROLE_PRIMARY, ServerId: 7,
			Nonce: first.GetStart().GetNonce(), Gtid: &agentv1.GtidPositions{BinlogPos: "0-7-1"}}},
	} {
		if err := stream.Send(m); err != nil {
			return nil, err
		}
	}
	return first, nil
}

func ended(t *testing.T, h kit.Quiesced) {
	t.Helper()
	select {
	case <-h.Done():
	case <-time.After(2 * time.Minute):
		t.Fatal("the hold has not ended")
	}
}

func TestHoldIsReleasedWithItsProof(t *testing.T) {
	t.Parallel()
	opened := make(chan *agentv1.QuiesceRequest, 1)
	var said []string
	h, _, err := holding(t, t.Context(), func(stream holdServer) error {
		first, err := reach(stream)
		if err != nil {
			return err
		}
		opened <- first
		if second, err := stream.Recv(); err != nil || second.GetResume() == nil {
			return fmt.Errorf("no release: %v, %w", second, err)
		}
		return stream.Send(
			&agentv1.QuiesceResponse{Result: &agentv1.QuiesceResult{Unbroken: true,
				Blocked: durationpb.New(time.Second)}})
	}, func(line string) { said = append(said, line) })
	if err != nil {
		t.Fatal(err)
	}
	first := <-opened
	if first.GetFencingToken().GetEpoch() != 3 ||
		first.GetFencingToken().GetEffectKey() != "1/hold/1" ||
		first.GetStart().GetMode() != agentv1.QuiesceRequest_MODE_ONLINE ||
		!first.GetStart().GetFreeze() || first.GetStart().GetLimit().AsDuration() != 5*time.Second {
		t.Errorf("opened with %v", first)
	}
	if got := h.Point(); got.ServerID != 7 || got.BinlogPos != "0-7-1" || got.Nonce != nonce ||
		len(said) != 1 {
		t.Errorf("point %+v after %v", got, said)
	}
	result, err := h.Resume(t.Context())
	if err != nil || !result.Unbroken || result.Blocked != time.Second {
		t.Errorf("%+v, %v", result, err)
	}
	ended(t, h)
	if err := errors.Join(h.Close(), h.Close()); err != nil {
		t.Error(err)
	}
	if _, err := h.Resume(t.Context()); err == nil {
		t.Error("released twice")
	}
}

func TestHoldEndsWithItsContextAndWithClose(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{}, 2)
	serve := func(stream holdServer) error {
		if _, err := reach(stream); err != nil {
			return err
		}
		_, err := stream.Recv()
		gone <- struct{}{}
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	h, _, err := holding(t, ctx, serve, nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	ended(t, h)
	<-gone
	if _, err := h.Resume(t.Context()); err == nil {
		t.Error("a hold that was cancelled is proved")
	}
	closed, _, err := holding(t, t.Context(), serve, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Error(err)
	}
	ended(t, closed)
	<-gone
}

func TestHoldOfAnAgentThatDiesIsNotProved(t *testing.T) {
	t.Parallel()
	h, running, err := holding(t, t.Context(), func(stream holdServer) error {
		if _, err := reach(stream); err != nil {
			return err
		}
		_, err := stream.Recv()
		return err
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	running.stop()
	ended(t, h)
	if _, err := h.Resume(t.Context()); err == nil {
		t.Error("it is proved")
	}
}

func TestHoldThatCannotBeHad(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		serve  func(holdServer) error
		kind   errs.Kind
		reason errorsv1.Reason
	}{
		"refused": {func(holdServer) error {
			return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_QUIESCE_NOT_ACQUIRED,
				"a table lock stands in the way")
		}, errs.FailedPrecondition, errorsv1.Reason_REASON_QUIESCE_NOT_ACQUIRED},
		"busy": {func(holdServer) error {
			return errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BUSY,
				"another one is open")
		}, errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BUSY},
		"ended early": {func(holdServer) error { return nil }, errs.Unavailable,
			errorsv1.Reason_REASON_AGENT_UNREACHABLE},
		"broken at once": {func(s holdServer) error {
			return s.Send(
				&agentv1.QuiesceResponse{
					Result: &agentv1.QuiesceResult{BrokenReason: "the limit was over"}})
		}, errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BROKEN},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := holding(t, t.Context(), test.serve, nil)
			if err == nil || errs.KindOf(err) != test.kind || errs.ReasonOf(err) != test.reason {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestBrokenHoldSaysWhy(t *testing.T) {
	t.Parallel()
	h, _, err := holding(t, t.Context(), func(stream holdServer) error {
		if _, err := reach(stream); err != nil {
			return err
		}
		if _, err := stream.Recv(); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		return stream.Send(
			&agentv1.QuiesceResponse{
				Result: &agentv1.QuiesceResult{BrokenReason: "another session"}})
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if result, err := h.Resume(t.Context()); err != nil || result.Unbroken ||
		result.BrokenReason != "another session" {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestSlowCallsTellHowFarTheyAre(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.db1(&agent{
		mounts: mountService{
			ensure: func(req *agentv1.EnsureMountRequest,
				out grpc.ServerStreamingServer[agentv1.EnsureMountResponse]) error {
				if req.GetFencingToken().GetJob() != "jobs/1" {
					return errors.New("no fencing token")
				}
				return errors.Join(
					out.Send(&agentv1.EnsureMountResponse{Progress: "waiting for the device"}),
					out.Send(
						&agentv1.EnsureMountResponse{Mount: &agentv1.Mount{Uuid: req.GetPath()},
							Changes: []string{"mounted"}, Found: []string{"ext4"}}))
			},
			devices: func(req *agentv1.ListBlockDevicesRequest) (*agentv1.ListBlockDevicesResponse,
				error) {
				if req.GetPageToken() == "" {
					return &agentv1.ListBlockDevicesResponse{NextPageToken: "more",
						Devices: []*agentv1.BlockDevice{{Path: "/dev/vda"}}}, nil
				}
				return &agentv1.ListBlockDevicesResponse{
					Devices: []*agentv1.BlockDevice{{Path: "/dev/vdb"}}}, nil
			},
		},
		mariadb: mariadbService{
			wait: func(_ *agentv1.WaitForGtidRequest,
				out grpc.ServerStreamingServer[agentv1.WaitForGtidResponse]) error {
				return errors.Join(out.Send(&agentv1.WaitForGtidResponse{Remaining: 5,
					SecondsBehind: durationpb.New(0)}),
					out.Send(&agentv1.WaitForGtidResponse{CurrentGtid: "0-1-9", Reached: true}))
			},
			checksum: func(_ *agentv1.ChecksumTablesRequest,
				out grpc.ServerStreamingServer[agentv1.ChecksumTablesResponse]) error {
				return errors.Join(out.Send(&agentv1.ChecksumTablesResponse{Gtid: "0-1-9",
					TablesTotal: 2, RowHash: 1}),
					out.Send(&agentv1.ChecksumTablesResponse{Table: "a.b", Checksum: 1 << 63,
						Consistent: true}), out.Send(&agentv1.ChecksumTablesResponse{Table: "a.c",
						Missing: true}))
			},
		},
	})
	a, err := f.pool.Agent(t.Context(), "db1")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	mounted, err := a.EnsureMount(t.Context(), kit.EnsureMount{Path: "/srv/mariadb",
		DeviceIDs: []string{"virtio-vol-1"}, Token: onBehalf},
		func(line string) { said = append(said, line) })
	if err != nil || mounted.Mount.UUID != "/srv/mariadb" || len(mounted.Changes) != 1 ||
		len(mounted.Found) != 1 || len(said) != 1 {
		t.Errorf("%+v, %v, said %v", mounted, err, said)
	}
	if devices, err := a.BlockDevices(t.Context()); err != nil || len(devices) != 2 {
		t.Errorf("%v, %v", devices, err)
	}
	var waits []kit.Waited
	reached, err := a.WaitForGTID(t.Context(), "0-1-9", time.Second,
		func(w kit.Waited) { waits = append(waits, w) })
	if err != nil || !reached || len(waits) != 2 || waits[1].Current != "0-1-9" {
		t.Errorf("%v, %v, %+v", reached, err, waits)
	}
	var begin kit.ChecksumBegin
	var tables []kit.TableChecksum
	err = a.ChecksumTables(t.Context(), kit.ChecksumTables{},
		func(b kit.ChecksumBegin) { begin = b },
		func(c kit.TableChecksum) { tables = append(tables, c) })
	if err != nil || begin.GTID != "0-1-9" || begin.Tables != 2 || len(tables) != 2 ||
		tables[0].Checksum != 1<<63 || !tables[1].Missing {
		t.Errorf("%v, %+v, %+v", err, begin, tables)
	}
}

func TestStreamWithoutItsLastMessageIsNoSuccess(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.db1(&agent{mounts: mountService{ensure: func(_ *agentv1.EnsureMountRequest,
		out grpc.ServerStreamingServer[agentv1.EnsureMountResponse]) error {
		return out.Send(&agentv1.EnsureMountResponse{Progress: "waiting"})
	}}, systemd: systemdService{ensure: func(*agentv1.EnsureUnitRequest,
		grpc.ServerStreamingServer[agentv1.EnsureUnitResponse]) error {
		return nil
	}}})
	a, err := f.pool.Agent(t.Context(), "db1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.EnsureMount(t.Context(), kit.EnsureMount{Path: "/srv/mariadb",
		DeviceIDs: []string{"virtio-vol-1"}}, nil)
	outOfReach(t, err)
	_, err = a.EnsureUnit(t.Context(), kit.UnitRequest{Unit: "mariadb.service"}, nil)
	outOfReach(t, err)
}
