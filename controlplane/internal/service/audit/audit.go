// Package audit serves AuditService: it checks requests, reads the audit, and writes answers.
package audit

import (
	"cmp"
	"context"
	"errors"

	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/trail"
	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Trail is the audit; *trail.Trail is one.
type Trail interface {
	// Records reads a page of calls, newest first, and the token of the next page.
	Records(ctx context.Context, filter store.AuditFilter, size int,
		token string) ([]trail.Entry, string, error)
	// Lines reads the next records of a chain, oldest first, and the number of the last.
	Lines(ctx context.Context, chain string, after int64, most int) ([]audit.Line, int64, error)
	// Verify reads a chain of an agent behind the control plane's own, or all without a name.
	Verify(ctx context.Context, only string, noted ...audit.Head) ([]trail.Verified, error)
}

// Service is AuditService.
type Service struct {
	cpv1.UnimplementedAuditServiceServer
	trail Trail
}

// New makes the service.
func New(trail Trail) (*Service, error) {
	if trail == nil {
		return nil, errors.New("cannot make the audit service: the audit is needed")
	}
	return &Service{trail: trail}, nil
}

// Rules says who may call what: the parameters of all calls are for nobody who is looked after.
func Rules() authz.Table {
	return authz.Table{
		cpv1.AuditService_ListAuditRecords_FullMethodName:   authz.Admins(),
		cpv1.AuditService_ExportAuditRecords_FullMethodName: authz.Admins(),
		cpv1.AuditService_VerifyAudit_FullMethodName:        authz.Admins(),
	}
}

// ListAuditRecords returns a page of calls, newest first.
func (s *Service) ListAuditRecords(ctx context.Context,
	req *cpv1.ListAuditRecordsRequest) (*cpv1.ListAuditRecordsResponse, error) {
	page := wire.PageOf(req.GetPageSize(), req.GetPageToken())
	within := wire.RangeOf(req.GetAfter(), req.GetBefore())
	filter := store.AuditFilter{Chain: chain(req), Who: req.GetActor(), Method: req.GetMethod(),
		After: within.After, Before: within.Before}
	list, next, err := wire.Collect(page, func(size int, token string) ([]trail.Entry, string,
		error) {
		return s.trail.Records(ctx, filter, size, token)
	})
	if err != nil {
		return nil, err
	}
	resp := &cpv1.ListAuditRecordsResponse{NextPageToken: next}
	for _, entry := range list {
		resp.Records = append(resp.Records, record(entry))
	}
	return resp, nil
}

// chain is the one that a request names.
func chain(req interface{ GetChain() string }) string {
	return cmp.Or(req.GetChain(), trail.Chain)
}

func record(e trail.Entry) *cpv1.AuditRecord {
	kinds := map[audit.Kind]cpv1.AuditKind{
		audit.Begin:   cpv1.AuditKind_AUDIT_KIND_CALL,
		audit.Refused: cpv1.AuditKind_AUDIT_KIND_REFUSED,
		audit.LeftOut: cpv1.AuditKind_AUDIT_KIND_LEFT_OUT,
		audit.Pruned:  cpv1.AuditKind_AUDIT_KIND_PRUNED,
		audit.Fetched: cpv1.AuditKind_AUDIT_KIND_FETCHED,
	}
	shown := &cpv1.AuditRecord{Seq: e.Seq, Time: wire.Time(e.Time), Kind: kinds[e.Kind],
		Actor: e.Who, Serial: e.Serial, Address: e.Address, Method: e.Method, CallId: e.RequestID,
		Parameters: string(e.Parameters), Code: e.Code, Reason: e.Reason, Error: e.Error,
		Count: e.Count, Hash: e.Hash, Through: e.Through, Chain: e.Chain, Grant: e.Grant}
	if e.Done != nil {
		shown.Code, shown.Reason, shown.Error = e.Done.Code, e.Done.Reason, e.Done.Error
		shown.EndTime = wire.Time(e.Done.Time)
	}
	return shown
}

// ExportAuditRecords returns the next lines of the chain.
func (s *Service) ExportAuditRecords(ctx context.Context,
	req *cpv1.ExportAuditRecordsRequest) (*cpv1.ExportAuditRecordsResponse, error) {
	size := wire.PageOf(req.GetPageSize(), "").Size
	lines, last, err := s.trail.Lines(ctx, chain(req), req.GetAfterSeq(), size)
	if err != nil {
		return nil, err
	}
	resp := &cpv1.ExportAuditRecordsResponse{LastSeq: last}
	for _, line := range lines {
		resp.Lines = append(resp.Lines, line.Text())
	}
	return resp, nil
}

// VerifyAudit reads all chains, or the one that is asked for.
func (s *Service) VerifyAudit(ctx context.Context,
	req *cpv1.VerifyAuditRequest) (*cpv1.VerifyAuditResponse, error) {
	all, err := s.trail.Verify(ctx, req.GetChain(),
		audit.Head{Seq: req.GetNotedSeq(), Hash: req.GetNotedHash()})
	if err != nil {
		return nil, err
	}
	own := all[0]
	resp := &cpv1.VerifyAuditResponse{Records: own.Count, FirstSeq: own.First,
		LastSeq: own.Head.Seq, LastHash: own.Head.Hash, OpenCalls: int64(len(own.Open)),
		Problems: problems(own)}
	for _, c := range all[1:] {
		resp.Chains = append(resp.Chains, &cpv1.AuditChain{Name: c.Chain, Records: c.Count,
			LastSeq: c.Head.Seq, LastHash: c.Head.Hash, OpenCalls: int64(len(c.Open)),
			Problems: problems(c)})
	}
	return resp, nil
}

func problems(of trail.Verified) (all []*cpv1.AuditProblem) {
	for _, p := range of.Problems {
		all = append(all, &cpv1.AuditProblem{Seq: p.Seq, Text: p.Text})
	}
	return all
}
