package systemd

import (
	"context"
	"strings"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/agent/internal/service/wire"
	domain "github.com/understudy-db/understudy/agent/internal/systemd"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

const defaultLines = 20

// EnsureUnit makes sure that the unit is up and ready, from any state.
func (s *Service) EnsureUnit(r *agentv1.EnsureUnitRequest,
	stream grpc.ServerStreamingServer[agentv1.EnsureUnitResponse]) error {
	if err := s.allow.CheckChange(r.GetUnit()); err != nil {
		return err
	}
	ctx, cancel := bounded(stream.Context(), r.GetTimeout())
	defer cancel()
	say := func(progress string) {
		// A caller that is gone is noticed by the context.
		_ = stream.Send(&agentv1.EnsureUnitResponse{Progress: clean(progress)})
	}
	unit, changes, err := s.units.Ensure(ctx, r.GetUnit(), say)
	if err != nil {
		return err
	}
	return stream.Send(&agentv1.EnsureUnitResponse{Unit: toUnit(unit), Changes: changes})
}

// WatchUnits sends each unit's state at once, and again whenever it changes.
func (s *Service) WatchUnits(r *agentv1.WatchUnitsRequest,
	stream grpc.ServerStreamingServer[agentv1.WatchUnitsResponse]) error {
	for _, name := range r.GetUnits() {
		if err := s.allow.CheckSee(name); err != nil {
			return err
		}
	}
	ctx, stop := wire.UntilDraining(stream.Context())
	defer stop()
	names, err := s.watched(ctx, r.GetUnits())
	if err != nil {
		return err
	}
	err = s.units.Watch(ctx, names, func(unit domain.Unit) error {
		return stream.Send(&agentv1.WatchUnitsResponse{Unit: toUnit(unit)})
	})
	return wire.EndOfStream(stream.Context(), err)
}

func (s *Service) watched(ctx context.Context, names []string) ([]string, error) {
	if len(names) > 0 {
		return names, nil
	}
	units, err := s.units.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, unit := range units {
		names = append(names, unit.Name)
	}
	return names, nil
}

// TailJournal sends the last lines of the unit's journal, and new ones as they come.
func (s *Service) TailJournal(r *agentv1.TailJournalRequest,
	stream grpc.ServerStreamingServer[agentv1.TailJournalResponse]) error {
	if err := s.allow.CheckSee(r.GetUnit()); err != nil {
		return err
	}
	lines := int(r.GetLines())
	if lines == 0 {
		lines = defaultLines
	}
	ctx, stop := wire.UntilDraining(stream.Context())
	defer stop()
	err := s.units.Journal.Tail(ctx, r.GetUnit(), lines, r.GetFollow(),
		func(entry domain.Entry) error {
			return stream.Send(&agentv1.TailJournalResponse{Entry: toEntry(entry)})
		})
	return wire.EndOfStream(stream.Context(), err)
}

func clean(text string) string { return strings.ToValidUTF8(text, "?") }
