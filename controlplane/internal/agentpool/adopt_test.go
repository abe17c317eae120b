package agentpool_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// agentOf is db1's agent with this service; restart ends it and starts another.
func agentOf(t *testing.T, s mariadbService) (a kit.Agent, restart func()) {
	t.Helper()
	f := newFleet(t)
	running := f.db1(&agent{mariadb: s})
	a, err := f.pool.Agent(t.Context(), "db1")
	if err != nil {
		t.Fatal(err)
	}
	return a, func() {
		running.stop()
		f.db1(&agent{mariadb: s})
	}
}

var adoption = kit.Adopt{Nonce: nonce, Limit: time.Minute, Token: onBehalf}

func TestAHoldIsAdopted(t *testing.T) {
	t.Parallel()
	a, restart := agentOf(t, mariadbService{hold: func(stream holdServer) error {
		first, err := stream.Recv()
		if err != nil {
			return err
		}
		if start := first.GetStart(); start != nil && start.GetAdoptWithin().AsDuration() !=
			time.Minute || start == nil && (first.GetAdopt().GetNonce() != nonce ||
			first.GetFencingToken().GetEpoch() != 3) {
			return fmt.Errorf("asked for %v", first)
		}
		if err := stream.Send(&agentv1.QuiesceResponse{Left: durationpb.New(42 * time.Second),
			Point: &agentv1.ConsistentPoint{Nonce: nonce}}); err != nil {
			return err
		}
		// A caller that lost its job cannot resume.
		if next, err := stream.Recv(); err != nil || next.GetFencingToken().GetEpoch() != 3 {
			return fmt.Errorf("%v %w", next, err)
		}
		return stream.Send(&agentv1.QuiesceResponse{
			Result: &agentv1.QuiesceResult{Unbroken: true}})
	}})
	first, err := a.Quiesce(t.Context(), kit.Quiesce{Mode: inventory.ModeOffline, Nonce: nonce,
		Limit: time.Minute, AdoptWithin: time.Minute, Token: onBehalf}, nil)
	if err != nil {
		t.Fatal(err)
	}
	restart()
	ended(t, first)
	if _, err := first.Ended(); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("what became of it is known: %v", err)
	}
	var again kit.Quiesced
	for again == nil {
		if again, err = a.Adopt(t.Context(), adoption); err != nil &&
			errs.KindOf(err) != errs.Unavailable {
			t.Fatal(err)
		}
	}
	if again.Left() != 42*time.Second || again.Point().Nonce != nonce {
		t.Errorf("%+v", again)
	}
	if result, err := again.Resume(t.Context()); err != nil || !result.Unbroken {
		t.Errorf("%+v, %v", result, err)
	}
}

// A wait for the proof that was cut short can be made again.
func TestTheProofOfAHoldIsWaitedForAgain(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}), make(chan struct{})
	a, _ := agentOf(t, mariadbService{hold: func(stream holdServer) error {
		if _, err := reach(stream); err != nil {
			return err
		}
		if _, err := stream.Recv(); err != nil {
			return err
		}
		close(asked)
		<-answer
		return stream.Send(&agentv1.QuiesceResponse{
			Result: &agentv1.QuiesceResult{Unbroken: true}})
	}})
	h, err := a.Quiesce(t.Context(), kit.Quiesce{Mode: inventory.ModeOffline, Nonce: nonce,
		Token: onBehalf}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := h.Resume(ctx); err == nil {
		t.Error("there was an answer")
	}
	close(answer)
	if result, err := h.Resume(t.Context()); err != nil || !result.Unbroken {
		t.Errorf("%+v %v", result, err)
	}
}

// One that has ended comes with its result at once.
func TestAHoldThatHasEndedIsAdoptedWithItsResult(t *testing.T) {
	t.Parallel()
	a, _ := agentOf(t, mariadbService{hold: func(stream holdServer) error {
		return stream.Send(&agentv1.QuiesceResponse{Point: &agentv1.ConsistentPoint{Nonce: nonce},
			Result: &agentv1.QuiesceResult{BrokenReason: "its limit was over"}})
	}})
	h, err := a.Adopt(t.Context(), adoption)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-h.Done():
	default:
		t.Error("it counts as held")
	}
	if result, err := h.Ended(); err != nil || result.BrokenReason != "its limit was over" {
		t.Errorf("%+v %v", result, err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

func TestAHoldThatWasLostSaysWhy(t *testing.T) {
	t.Parallel()
	a, _ := agentOf(t, mariadbService{hold: func(holdServer) error {
		return errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BROKEN, "it was killed")
	}})
	if _, err := a.Adopt(t.Context(), adoption); errs.ReasonOf(err) !=
		errorsv1.Reason_REASON_QUIESCE_BROKEN {
		t.Errorf("%v", err)
	}
}

func TestAHoldIsEnded(t *testing.T) {
	t.Parallel()
	held := true
	a, _ := agentOf(t, mariadbService{end: func(
		req *agentv1.EndQuiesceRequest) (*agentv1.EndQuiesceResponse, error) {
		if req.GetFencingToken().GetJob() != "jobs/1" || !held {
			return &agentv1.EndQuiesceResponse{}, nil
		}
		held = false
		return &agentv1.EndQuiesceResponse{
			Result: &agentv1.QuiesceResult{Down: durationpb.New(time.Second)}}, nil
	}})
	if result, err := a.EndQuiesce(t.Context(), onBehalf); err != nil || result == nil ||
		result.Down != time.Second {
		t.Errorf("%+v %v", result, err)
	}
	if result, err := a.EndQuiesce(t.Context(), onBehalf); err != nil || result != nil {
		t.Errorf("again: %+v %v", result, err)
	}
}
