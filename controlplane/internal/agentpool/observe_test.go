package agentpool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

var errEnough = errors.New("enough")

// observe collects what an agent tells until its call ends, or n observations were told.
const hashA = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"

func observe(t *testing.T, f *fleet, last replication.Observed, n int) ([]replication.Observed,
	error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var all []replication.Observed
	err := f.pool.Observe(ctx, "db1", "127.0.0.2", 100*time.Millisecond, last,
		func(o replication.Observed) {
			if all = append(all, o); len(all) == n {
				cancel(errEnough)
			}
		})
	if errors.Is(context.Cause(ctx), errEnough) {
		return all, nil
	}
	return all, err
}

func TestFactsAndBeatsOfAnAgent(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.db1(&agent{observe: observationService{observe: func(r *agentv1.ObserveRequest,
		stream grpc.ServerStreamingServer[agentv1.ObserveResponse]) error {
		facts := &agentv1.HostFacts{Mariadb: &agentv1.MariaDBStatus{Answers: true, ServerId: 7,
			LockHolders: "session 7",
			Replication: []*agentv1.ReplicationStatus{{IoRunning: "Yes"}}},
			Volume: &agentv1.VolumeFacts{ReadOnly: true}, ReplicationPausedBy: "jobs/1",
			Starting: true,
			Unit:     &agentv1.UnitFacts{ActiveState: "active", Errors: []string{"no"}},
			Hung:     []*agentv1.HungProbe{{Probe: "volume"}},
			Marks: &agentv1.ReplicationMarks{RecordId: strings.Repeat("r", 1000), LastNumber: 2,
				Marks: []*agentv1.ReplicationMark{{Number: 2, Text: "skipped"}}}}
		if r.GetKnownHash() == hashA {
			facts = nil
		}
		for i, m := range []*agentv1.ObserveResponse{
			{Change: 1, Hash: hashA, Facts: facts, Progress: &agentv1.HostProgress{BinlogOffset: 1},
				Age: durationpb.New(time.Hour)},
			{Change: 1, Hash: hashA, Progress: &agentv1.HostProgress{BinlogOffset: 2,
				LockHolders:  proto.String("session 8"),
				HistoryClaim: &agentv1.HistoryClaim{Id: "one"},
				Connections: []*agentv1.ConnectionProgress{{IoState: "busy", ReadFile: "b",
					ReadOffset: 9, SecondsBehind: durationpb.New(time.Second)},
					{IoState: "none"}}}},
			{Change: 2, Hash: "b"}} {
			if err := stream.Send(m); err != nil || i == 2 {
				return err
			}
		}
		return nil
	}}})
	all, err := observe(t, f, replication.Observed{}, 3)
	if len(all) != 2 || errs.KindOf(err) != errs.Unavailable {
		t.Fatalf("observed %d times, then %v", len(all), err)
	}
	first, second := all[0], all[1]
	if !first.Answers || first.ServerID != 7 || !first.Volume.ReadOnly || len(first.Hung) != 1 ||
		first.PausedBy != "jobs/1" || first.LockHolders != "session 7" ||
		!first.Starting || first.Unit.Errors[0] != "no" || first.BinlogOffset != 1 ||
		time.Since(first.At) < time.Hour {
		t.Errorf("first %+v", first)
	}
	if first.Marks.Record != strings.Repeat("r", 64) || first.Marks.Last != 2 ||
		len(first.Marks.All) != 1 ||
		first.Marks.All[0] != (replication.Mark{Number: 2, Text: "skipped"}) {
		t.Errorf("noted %+v", first.Marks)
	}
	if second.ServerID != 7 || second.BinlogOffset != 2 || time.Since(second.At) > time.Minute ||
		second.Connections[0].IOState != "busy" || !second.Connections[0].SecondsKnown ||
		second.Connections[0].ReadFile != "b" || second.Connections[0].ReadOffset != 9 ||
		second.HistoryClaim.ID != "one" || second.LockHolders != "session 8" ||
		first.Connections[0].IOState != "" {
		t.Errorf("second %+v", second)
	}
	agent, err := f.pool.Agent(t.Context(), "db1")
	if err != nil {
		t.Fatal(err)
	}
	if noted, err := agent.Marks(t.Context()); err != nil || noted.Last != 2 ||
		noted.Record != first.Marks.Record {
		t.Errorf("asked for its marks: %+v %v", noted, err)
	}
	again, err := observe(t, f, second, 1)
	if err != nil || len(again) == 0 || again[0].ServerID != 7 || again[0].BinlogOffset != 1 {
		t.Errorf("with known facts: %+v, %v", again, err)
	}
}

func TestOneThatStopsAnsweringIsToldAtOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	began := make(chan struct{})
	a := f.db1(&agent{observe: observationService{observe: func(_ *agentv1.ObserveRequest,
		stream grpc.ServerStreamingServer[agentv1.ObserveResponse]) error {
		close(began)
		<-stream.Context().Done()
		return stream.Context().Err()
	}}})
	go func() { <-began; a.stop() }()
	if _, err := observe(t, f, replication.Observed{}, 1); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("ended with %v", err)
	}
	if err := f.pool.Observe(t.Context(), "db1", "", time.Second, replication.Observed{},
		nil); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("a machine without an address: %v", err)
	}
}

func TestAnAgentThatIsRevokedIsObservedNoMore(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	seen := make(chan struct{})
	a := f.db1(&agent{observe: observationService{observe: func(_ *agentv1.ObserveRequest,
		stream grpc.ServerStreamingServer[agentv1.ObserveResponse]) error {
		for change := int64(1); ; change++ {
			if err := stream.Send(&agentv1.ObserveResponse{Change: change, Hash: hashA,
				Facts: &agentv1.HostFacts{}}); err != nil {
				return err
			}
			select {
			case <-seen:
			case <-stream.Context().Done():
				return stream.Context().Err()
			}
		}
	}}})
	err := f.pool.Observe(t.Context(), "db1", "127.0.0.2", time.Second, replication.Observed{},
		func(replication.Observed) {
			f.revoke(a.serial)
			seen <- struct{}{}
		})
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
		t.Errorf("ended with %v", err)
	}
}
