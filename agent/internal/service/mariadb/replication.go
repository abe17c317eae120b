package mariadb

import (
	"cmp"
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

const (
	defaultWait = time.Minute
	// oneCredential begins the refusal of two ways to sign in, or none.
	oneCredential = "is needed, or instead of it "
	serverPrefix  = "servers/"
)

// EnsureReplicationAccount implements the RPC.
func (s *Service) EnsureReplicationAccount(ctx context.Context,
	r *agentv1.EnsureReplicationAccountRequest) (*agentv1.EnsureReplicationAccountResponse, error) {
	f := errs.Fields{}
	ownAccount(&f, r.GetUser())
	f.Require("password", (r.GetPassword() == "") != (r.GetServer() == ""), oneCredential+"server")
	if err := f.Err(); err != nil {
		return nil, err
	}
	changes, err := s.mariadb.Server.EnsureAccount(ctx, mariadb.Account{User: r.GetUser(),
		Host: r.GetHost(), Password: r.GetPassword(),
		MariaDB: identity.MariaDB{Server: strings.TrimPrefix(r.GetServer(), serverPrefix),
			Generation: r.GetGeneration()},
		KeepOthers: r.GetKeepOthers(), EndSessions: r.GetEndSessions()})
	return &agentv1.EnsureReplicationAccountResponse{Changes: changes}, err
}

// DeleteReplicationAccount implements the RPC.
func (s *Service) DeleteReplicationAccount(ctx context.Context,
	r *agentv1.DeleteReplicationAccountRequest) (*agentv1.DeleteReplicationAccountResponse, error) {
	f := errs.Fields{}
	ownAccount(&f, r.GetUser())
	if err := f.Err(); err != nil {
		return nil, err
	}
	changed, err := s.mariadb.Server.DeleteAccount(ctx, r.GetUser(), r.GetHost())
	return &agentv1.DeleteReplicationAccountResponse{Changed: changed}, err
}

// PrepareReplica implements the RPC.
func (s *Service) PrepareReplica(ctx context.Context,
	r *agentv1.PrepareReplicaRequest) (*agentv1.PrepareReplicaResponse, error) {
	f := errs.Fields{}
	plan := mariadb.ReplicaPlan{Gtid: position(&f, "gtid", r.GetGtid()),
		Upper:  position(&f, "gtid_upper", r.GetGtidUpper()),
		Ranged: r.GetGtidUpper() != "", ServerID: r.GetServerId(),
		SourceReplica: r.GetSourceRole() == agentv1.ServerRole_SERVER_ROLE_REPLICA}
	f.Require("gtid_upper", !plan.Ranged || plan.Upper.Contains(plan.Gtid),
		"must not be before gtid")
	if err := f.Err(); err != nil {
		return nil, err
	}
	recovered, changes, err := s.mariadb.Replica.Prepare(ctx, plan)
	return &agentv1.PrepareReplicaResponse{RecoveredGtid: recovered, Changes: changes}, err
}

// ConfigureReplica implements the RPC.
func (s *Service) ConfigureReplica(ctx context.Context,
	r *agentv1.ConfigureReplicaRequest) (*agentv1.ConfigureReplicaResponse, error) {
	f := errs.Fields{}
	checkAccount(&f, r.GetUser())
	f.Require("tls", r.GetTls(), "must be true: replication is never without TLS")
	f.Require("password", (r.GetPassword() == "") == r.GetCertificate(),
		oneCredential+"certificate")
	if err := f.Err(); err != nil {
		return nil, err
	}
	changes, now, err := s.mariadb.Replica.Configure(ctx,
		mariadb.Primary{Host: r.GetPrimaryHost(), Port: cmp.Or(int(r.GetPrimaryPort()), 3306),
			User: r.GetUser(), Password: r.GetPassword(), Certificate: r.GetCertificate(),
			TLS: r.GetTls(), Force: r.GetForce()})
	return &agentv1.ConfigureReplicaResponse{Changes: changes, Status: replicationToProto(now)}, err
}

// ReconnectReplica implements the RPC.
func (s *Service) ReconnectReplica(ctx context.Context,
	r *agentv1.ReconnectReplicaRequest) (*agentv1.ReconnectReplicaResponse, error) {
	now, changed, err := s.mariadb.Replica.Reconnect(ctx, orDefault(r.GetTimeout(), defaultWait))
	return &agentv1.ReconnectReplicaResponse{Status: replicationToProto(now), Changed: changed}, err
}

// StartReplication implements the RPC.
func (s *Service) StartReplication(ctx context.Context,
	r *agentv1.StartReplicationRequest) (*agentv1.StartReplicationResponse, error) {
	f := errs.Fields{}
	until := position(&f, "until_gtid", r.GetUntilGtid())
	if err := f.Err(); err != nil {
		return nil, err
	}
	start := s.mariadb.Replica.Start
	if !until.IsEmpty() {
		s.mariadb.Replica.Pause(r.GetFencingToken().GetJob())
		start = func(ctx context.Context, timeout time.Duration) (mariadb.Replication, bool,
			error) {
			return s.mariadb.Replica.StartUntil(ctx, until, timeout)
		}
	}
	now, changed, err := start(ctx, orDefault(r.GetTimeout(), defaultWait))
	if err == nil && until.IsEmpty() {
		s.mariadb.Replica.Pause("")
	}
	return &agentv1.StartReplicationResponse{Status: replicationToProto(now), Changed: changed}, err
}

// StopReplication implements the RPC.
func (s *Service) StopReplication(ctx context.Context,
	r *agentv1.StopReplicationRequest) (*agentv1.StopReplicationResponse, error) {
	s.mariadb.Replica.Pause(r.GetFencingToken().GetJob())
	now, changed, err := s.mariadb.Replica.Stop(ctx, r.GetSqlThreadOnly(),
		orDefault(r.GetTimeout(), defaultWait))
	return &agentv1.StopReplicationResponse{Status: replicationToProto(now), Changed: changed}, err
}

// ResetReplication implements the RPC.
func (s *Service) ResetReplication(ctx context.Context,
	r *agentv1.ResetReplicationRequest) (*agentv1.ResetReplicationResponse, error) {
	f := errs.Fields{}
	expected := position(&f, "expected_gtid", r.GetExpectedGtid())
	if err := f.Err(); err != nil {
		return nil, err
	}
	changed, err := s.mariadb.Replica.Reset(ctx, expected)
	return &agentv1.ResetReplicationResponse{Changed: changed}, err
}

// SetReadOnly implements the RPC.
func (s *Service) SetReadOnly(ctx context.Context,
	r *agentv1.SetReadOnlyRequest) (*agentv1.SetReadOnlyResponse, error) {
	changed, err := s.mariadb.Server.SetReadOnly(ctx, r.GetReadOnly())
	return &agentv1.SetReadOnlyResponse{Changed: changed}, err
}

// WaitForGtid implements the RPC.
func (s *Service) WaitForGtid(r *agentv1.WaitForGtidRequest,
	stream agentv1.MariaDBService_WaitForGtidServer) error {
	f := errs.Fields{}
	target := position(&f, "gtid", r.GetGtid())
	if err := f.Err(); err != nil {
		return err
	}
	return s.mariadb.Replica.WaitForGtid(stream.Context(), target,
		orDefault(r.GetTimeout(), defaultWait),
		func(p mariadb.Progress) error {
			m := &agentv1.WaitForGtidResponse{CurrentGtid: p.Current.String(),
				Remaining: int64(min(p.Remaining, 1<<63-1)), Reached: p.Reached}
			if p.Behind != nil {
				m.SecondsBehind = durationpb.New(*p.Behind)
			}
			return stream.Send(m)
		})
}

// ChecksumTables implements the RPC.
func (s *Service) ChecksumTables(r *agentv1.ChecksumTablesRequest,
	stream agentv1.MariaDBService_ChecksumTablesServer) error {
	f := errs.Fields{}
	plan := mariadb.ChecksumPlan{At: position(&f, "at_gtid", r.GetAtGtid()),
		Stopped: r.GetAtGtid() != "", Tables: r.GetTables(),
		SampleBytes: r.GetSampleBytes(), SampleSeed: r.GetSampleSeed(),
		SampleTime: r.GetSampleTime().AsDuration()}
	if err := f.Err(); err != nil {
		return err
	}
	head := func(h mariadb.ChecksumHead) error {
		return stream.Send(&agentv1.ChecksumTablesResponse{Gtid: h.Gtid,
			TablesTotal: int32(min(h.Tables, 1<<31-1)), BytesTotal: h.BytesTotal,
			RowHash: mariadb.RowHash})
	}
	return s.mariadb.Server.Checksums(stream.Context(), plan, head,
		func(c mariadb.TableChecksum) error {
			return stream.Send(&agentv1.ChecksumTablesResponse{Table: c.Table, Checksum: c.Checksum,
				Missing: c.Missing, Engine: c.Engine,
				Consistent: c.Consistent, Bytes: c.Bytes, DefinitionHash: c.DefinitionHash,
				LeftOut: c.LeftOut, Problem: c.Problem, Busy: c.Busy})
		})
}
