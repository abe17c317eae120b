package mariadb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/agent/internal/quiesce"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/consistentpoint/wire"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

const (
	defaultLimit    = 10 * time.Second
	maxLimit        = time.Minute
	defaultLockWait = 2 * time.Second
)

type quiesceStream = agentv1.MariaDBService_QuiesceServer

// Quiesce implements the RPC.
func (s *Service) Quiesce(stream quiesceStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	session, err := s.open(stream, first)
	if err != nil {
		return err
	}
	defer session.Leave()
	point := &agentv1.QuiesceResponse{Point: pointToProto(session.Point),
		Left: durationpb.New(session.Left())}
	select {
	case <-session.Ended(): // before it was adopted
		result, err := session.Resume(stream.Context())
		if err != nil {
			return err
		}
		point.Result = resultToProto(result)
		return stream.Send(point)
	default:
	}
	if err := stream.Send(point); err != nil {
		return err
	}
	result, err := untilResumed(stream, session)
	if err != nil {
		return err
	}
	return stream.Send(&agentv1.QuiesceResponse{Result: resultToProto(result)})
}

// open starts a session, or adopts the one that the same job has.
func (s *Service) open(stream quiesceStream,
	first *agentv1.QuiesceRequest) (*quiesce.Session, error) {
	if adopt := first.GetAdopt(); adopt != nil {
		return s.quiesce.Adopt(stream.Context(), first.GetFencingToken().GetJob(),
			adopt.GetNonce())
	}
	spec, err := specOf(first, identity.PeerOf(stream.Context()).Identity)
	if err != nil {
		return nil, err
	}
	return s.quiesce.Start(stream.Context(), spec, func(progress string) {
		// The end of the stream ends the session by its context.
		_ = stream.Send(&agentv1.QuiesceResponse{Progress: progress})
	})
}

// EndQuiesce implements the RPC.
func (s *Service) EndQuiesce(ctx context.Context,
	req *agentv1.EndQuiesceRequest) (*agentv1.EndQuiesceResponse, error) {
	result, err := s.quiesce.End(ctx, req.GetFencingToken().GetJob())
	if err != nil || result == nil {
		return &agentv1.EndQuiesceResponse{}, err
	}
	return &agentv1.EndQuiesceResponse{Result: resultToProto(*result)}, nil
}

// untilResumed waits for the request to resume, or for the end of the session or the stream.
func untilResumed(stream quiesceStream, session *quiesce.Session) (quiesce.Result, error) {
	asked := make(chan error, 1)
	go func() { asked <- awaitResume(stream) }()
	select {
	case err := <-asked:
		if err != nil {
			return quiesce.Result{}, err
		}
	case <-session.Ended():
	case <-session.Taken():
		return quiesce.Result{}, quiesce.Adopted()
	case <-stream.Context().Done():
		return quiesce.Result{}, stream.Context().Err()
	}
	return session.Resume(stream.Context())
}

func awaitResume(stream quiesceStream) error {
	next, err := stream.Recv()
	switch {
	case errors.Is(err, io.EOF):
		return errs.New(errs.Canceled, 0,
			"cannot prove the point: the caller closed its side without `resume`",
			errs.WithHint("send `resume` after the snapshot, and keep the stream open until then"))
	case err != nil:
		return err
	case next.GetResume() == nil:
		f := errs.Fields{}
		f.Add("action", "must be `resume` after `start`")
		return f.Err()
	}
	return nil
}

func specOf(r *agentv1.QuiesceRequest, caller identity.Identity) (quiesce.Spec, error) {
	f := errs.Fields{}
	start := r.GetStart()
	f.Require("start", start != nil, "must come first")
	modes := map[agentv1.QuiesceRequest_Mode]quiesce.Mode{
		agentv1.QuiesceRequest_MODE_ONLINE:  quiesce.Online,
		agentv1.QuiesceRequest_MODE_OFFLINE: quiesce.Offline,
		agentv1.QuiesceRequest_MODE_CRASH:   quiesce.Crash}
	limit := orDefault(start.GetLimit(), defaultLimit)
	spec := quiesce.Spec{Mode: modes[start.GetMode()], Nonce: start.GetNonce(),
		Freeze: start.GetFreeze(), Limit: limit, Job: r.GetFencingToken().GetJob(),
		AdoptWithin: start.GetAdoptWithin().AsDuration(),
		LockWait:    orDefault(start.GetLockWait(), min(defaultLockWait, limit))}
	f.Require("start.limit", limit <= maxLimit || spec.Mode == quiesce.Offline,
		fmt.Sprintf("must be at most %s", maxLimit))
	f.Require("start.adopt_within", spec.AdoptWithin == 0 || spec.Mode == quiesce.Offline,
		"must be absent unless the mode is MODE_OFFLINE")
	f.Require("start.adopt_within", spec.AdoptWithin == 0 || !caller.Role.IsOperator(),
		"must be absent in a call under a grant: what the call holds ends with the grant")
	f.Require("start.lock_wait", spec.LockWait <= spec.Limit, "must not be longer than the limit")
	return spec, f.Err()
}

func pointToProto(p consistentpoint.Point) *agentv1.ConsistentPoint {
	role := agentv1.ServerRole_SERVER_ROLE_PRIMARY
	if p.Replica {
		role = agentv1.ServerRole_SERVER_ROLE_REPLICA
	}
	return &agentv1.ConsistentPoint{
		Role: role, ServerId: int64(p.ServerID), DomainId: int64(p.DomainID),
		ServerVersion: p.ServerVersion, DatadirVersion: p.DatadirVersion,
		Gtid: &agentv1.GtidPositions{BinlogPos: p.BinlogPos, SlavePos: p.SlavePos,
			CurrentPos: p.CurrentPos, BinlogState: p.BinlogState},
		BinlogFile: p.BinlogFile, BinlogOffset: p.BinlogOffset,
		FilesystemUuid: p.FilesystemUUID, Filesystem: p.Filesystem, Datadir: p.Datadir,
		DatadirOnVolume: p.DatadirOnVolume, Nonce: p.Nonce, At: stamp(p.At),
		Contract: wire.ToProto(p.Contract),
	}
}

func resultToProto(r quiesce.Result) *agentv1.QuiesceResult {
	return &agentv1.QuiesceResult{Unbroken: r.Unbroken, BrokenReason: r.BrokenReason,
		Blocked: durationpb.New(r.Blocked), Frozen: durationpb.New(r.Frozen),
		Down: durationpb.New(r.Down), GtidAfter: positionsToProto(r.After)}
}
