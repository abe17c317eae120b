package mariadb

import (
	"errors"
	"io"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/agent/internal/hold"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

const (
	defaultLimit    = 10 * time.Second
	maxLimit        = time.Minute
	maxOfflineLimit = 4 * time.Hour
	defaultLockWait = 2 * time.Second
)

type holdStream = agentv1.MariaDBService_HoldConsistentPointServer

// HoldConsistentPoint implements the RPC.
func (s *Service) HoldConsistentPoint(stream holdStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	spec, err := specOf(first)
	if err != nil {
		return err
	}
	held, err := s.holds.Open(stream.Context(), spec, func(progress string) {
		// A stream that is gone ends the hold by its context.
		_ = stream.Send(&agentv1.HoldConsistentPointResponse{Progress: progress})
	})
	if err != nil {
		return err
	}
	defer held.Close()
	if err := stream.Send(
		&agentv1.HoldConsistentPointResponse{Testimony: testimonyToProto(
			held.Testimony)}); err != nil {
		return err
	}
	result, err := untilReleased(stream, held)
	if err != nil {
		return err
	}
	return stream.Send(&agentv1.HoldConsistentPointResponse{Result: resultToProto(result)})
}

// untilReleased waits for the release, or for the end of the hold by itself; the stream's end is
// the hold's end.
func untilReleased(stream holdStream, held *hold.Hold) (hold.Result, error) {
	released := make(chan error, 1)
	go func() { released <- awaitRelease(stream) }()
	select {
	case err := <-released:
		if err != nil {
			return hold.Result{}, err
		}
	case <-held.Ended():
	case <-stream.Context().Done():
		return hold.Result{}, stream.Context().Err()
	}
	return held.Release(stream.Context())
}

func awaitRelease(stream holdStream) error {
	next, err := stream.Recv()
	switch {
	case errors.Is(err, io.EOF):
		return errs.New(errs.Canceled, 0,
			"the caller closed its side without a release: the hold is over, and not proved",
			errs.WithHint("send `release` after the cut, and keep the stream open until then"))
	case err != nil:
		return err
	case next.GetRelease() == nil:
		f := errs.Fields{}
		f.Add("action", "must be `release` after `open`")
		return f.Err()
	}
	return nil
}

func specOf(r *agentv1.HoldConsistentPointRequest) (hold.Spec, error) {
	f := errs.Fields{}
	open := r.GetOpen()
	f.Require("open", open != nil, "must come first")
	modes := map[agentv1.HoldConsistentPointRequest_Mode]hold.Mode{
		agentv1.HoldConsistentPointRequest_MODE_ONLINE:  hold.Online,
		agentv1.HoldConsistentPointRequest_MODE_OFFLINE: hold.Offline,
		agentv1.HoldConsistentPointRequest_MODE_CRASH:   hold.Crash}
	mode, known := modes[open.GetMode()]
	f.Require("open.mode", known, "must be MODE_ONLINE, MODE_OFFLINE or MODE_CRASH")
	most := maxLimit
	if mode == hold.Offline {
		most = maxOfflineLimit
	}
	limit := duration(&f, "open.limit", open.GetLimit(), defaultLimit, most)
	spec := hold.Spec{Mode: mode, Nonce: open.GetNonce(), Freeze: open.GetFreeze(), Limit: limit,
		LockWait: duration(&f, "open.lock_wait", open.GetLockWait(), min(defaultLockWait, limit),
			most)}
	f.Require("open.nonce", noncePattern.MatchString(spec.Nonce),
		"must be 32 to 64 characters of 0-9 and a-f")
	f.Require("open.lock_wait", spec.LockWait <= spec.Limit, "must not be longer than the limit")
	return spec, f.Err()
}

func resultToProto(r hold.Result) *agentv1.HoldResult {
	return &agentv1.HoldResult{Unbroken: r.Unbroken, BrokenReason: r.BrokenReason,
		Blocked: durationpb.New(r.Blocked),
		Frozen:  durationpb.New(r.Frozen), Down: durationpb.New(r.Down),
		GtidAfter: positionsToProto(r.After)}
}
