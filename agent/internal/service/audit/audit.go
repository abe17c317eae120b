// Package audit serves AuditService: it hands the agent's audit to the control plane.
package audit

import (
	"context"

	"github.com/understudy-db/understudy/agent/internal/trail"
	"github.com/understudy-db/understudy/proto/rpc/audit"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// Trail is the agent's audit.
type Trail interface {
	// Fetch notes what is kept, and gives the next records.
	Fetch(chain string, kept audit.Head) (trail.Batch, error)
}

// Service implements agentv1.AuditServiceServer.
type Service struct {
	agentv1.UnimplementedAuditServiceServer
	trail Trail
	// newest is an error for a control plane that another one has taken over from.
	newest func(context.Context) error
}

// New makes a Service.
func New(trail Trail, newest func(context.Context) error) *Service {
	return &Service{trail: trail, newest: newest}
}

// FetchAuditRecords implements the RPC.
func (s *Service) FetchAuditRecords(ctx context.Context,
	r *agentv1.FetchAuditRecordsRequest) (*agentv1.FetchAuditRecordsResponse, error) {
	if err := s.newest(ctx); err != nil {
		return nil, err
	}
	batch, err := s.trail.Fetch(r.GetChain(),
		audit.Head{Seq: r.GetKeptSeq(), Hash: r.GetKeptHash()})
	if err != nil {
		return nil, err
	}
	return &agentv1.FetchAuditRecordsResponse{Chain: batch.Chain, Lines: batch.Lines,
		HeadSeq: batch.Head.Seq, HeadHash: batch.Head.Hash}, nil
}
