// Package observation serves ObservationService: it converts what the agent observes, and sends
// what changed.
package observation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/agent/internal/observe"
	"github.com/understudy-db/understudy/agent/internal/service/wire"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

const defaultBeat = time.Second

// Sampler has the latest observation, and a channel that the next one closes.
type Sampler interface {
	Latest() (observe.Observation, <-chan struct{})
}

// Service implements agentv1.ObservationServiceServer.
type Service struct {
	agentv1.UnimplementedObservationServiceServer
	sampler Sampler
	// newest is an error for a caller that another one has taken over from.
	newest func(context.Context) error

	mu    sync.Mutex
	facts facts
}

// facts are the latest facts, with their number and hash.
type facts struct {
	change int64
	hash   string
	at     time.Time // of the observation that they are from
	wire   *agentv1.HostFacts
}

// New makes a Service. Before each answer newest says whether the caller may still have it.
func New(sampler Sampler, newest func(context.Context) error) *Service {
	return &Service{sampler: sampler, newest: newest}
}

// Observe implements the RPC.
func (s *Service) Observe(r *agentv1.ObserveRequest,
	stream grpc.ServerStreamingServer[agentv1.ObserveResponse]) error {
	ctx, stop := wire.UntilDraining(stream.Context())
	defer stop()
	beat := defaultBeat
	if r.GetBeatInterval() != nil {
		beat = r.GetBeatInterval().AsDuration()
	}
	return wire.EndOfStream(stream.Context(), s.observe(ctx, beat, r.GetKnownHash(), stream.Send))
}

// observe sends at once, then when the facts changed, and when a beat is due. A beat is sent
// without a new sample too: its age tells how old the latest one is.
func (s *Service) observe(ctx context.Context, beat time.Duration, known string,
	send func(*agentv1.ObserveResponse) error) error {
	timer := time.NewTimer(beat)
	defer timer.Stop()
	due := true
	for {
		seen, next := s.sampler.Latest()
		if now := s.factsOf(seen); !seen.At.IsZero() && (due || now.hash != known) {
			message := &agentv1.ObserveResponse{Change: now.change, Hash: now.hash,
				Progress: progressOf(seen), Age: durationpb.New(time.Since(seen.At)),
				Time: timestamppb.Now()}
			if now.hash != known {
				message.Facts, known = now.wire, now.hash
			}
			if err := s.newest(ctx); err != nil {
				return err
			}
			if err := send(message); err != nil {
				return err
			}
			due = false
			timer.Reset(beat)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next:
		case <-timer.C:
			due = true
		}
	}
}

// factsOf are the facts of an observation. Their number grows when they differ from those before.
func (s *Service) factsOf(seen observe.Observation) facts {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !seen.At.After(s.facts.at) {
		return s.facts
	}
	s.facts.at = seen.At
	now := toFacts(seen)
	steady(now.GetMariadb(), s.facts.wire.GetMariadb())
	if s.facts.wire != nil && proto.Equal(now, s.facts.wire) {
		return s.facts
	}
	s.facts.wire, s.facts.hash = now, hashOf(now)
	s.facts.change++
	return s.facts
}

// steady keeps the time of MariaDB's start, which is computed from its uptime in whole seconds.
func steady(now, before *agentv1.MariaDBStatus) {
	if now.GetStartTime() == nil || before.GetStartTime() == nil {
		return
	}
	apart := now.GetStartTime().AsTime().Sub(before.GetStartTime().AsTime())
	if apart.Abs() <= 2*time.Second {
		now.StartTime = before.GetStartTime()
	}
}

func hashOf(now *agentv1.HostFacts) string {
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(now)
	if err != nil {
		return "" // asks for the facts each time
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}
