package agentpool_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/audit"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// auditService answers what the test wants.
type auditService struct {
	agentv1.UnimplementedAuditServiceServer
	fetch func(*agentv1.FetchAuditRecordsRequest) *agentv1.FetchAuditRecordsResponse
}

func (s auditService) FetchAuditRecords(_ context.Context,
	r *agentv1.FetchAuditRecordsRequest) (*agentv1.FetchAuditRecordsResponse, error) {
	return s.fetch(r), nil
}

// What is kept reaches the agent, and a record as large as there are arrives as it is.
func TestAnAgentsAuditIsFetched(t *testing.T) {
	t.Parallel()
	const chain = "servers/db1/00000000000000aa"
	f := newFleet(t)
	var asked *agentv1.FetchAuditRecordsRequest
	lines := []string{strings.Repeat("x", 12<<10), "{}"}
	f.db1(&agent{audit: auditService{fetch: func(
		r *agentv1.FetchAuditRecordsRequest) *agentv1.FetchAuditRecordsResponse {
		asked = r
		return &agentv1.FetchAuditRecordsResponse{Chain: chain, Lines: lines,
			HeadSeq: 9, HeadHash: "h"}
	}}})
	digest := strings.Repeat("0a", 32)
	for _, kept := range []audit.Head{{}, {Seq: 7, Hash: digest}, audit.Origin("c")} {
		got, err := f.pool.FetchAudit(t.Context(), "db1", "127.0.0.2", chain, kept)
		if err != nil || !slices.Equal(got.Lines, lines) || got.Chain != chain ||
			got.Head != (audit.Head{Seq: 9, Hash: "h"}) {
			t.Errorf("got %+v, %v", got, err)
		}
		if asked.GetKeptSeq() != kept.Seq || asked.GetChain() != chain ||
			kept.Seq > 0 && asked.GetKeptHash() != digest {
			t.Errorf("asked %v", asked)
		}
	}
}
