package agentpool

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/trail"
	"github.com/understudy-db/understudy/proto/rpc/audit"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// FetchAudit tells the server's agent which of its records are kept, and gets the next ones.
func (p *Pool) FetchAudit(ctx context.Context, server, address, chain string,
	kept audit.Head) (trail.Batch, error) {
	conn, err := p.line(server, address)
	if err != nil {
		return trail.Batch{}, err
	}
	request := &agentv1.FetchAuditRecordsRequest{Chain: chain}
	if kept.Seq > 0 {
		request.KeptSeq, request.KeptHash = kept.Seq, kept.Hash
	}
	resp, err := call(ctx, newAgent(server, p.watched(conn)), lookLimit,
		agentv1.NewAuditServiceClient(p.watched(conn)).FetchAuditRecords, request)
	return trail.Batch{Chain: resp.GetChain(), Lines: resp.GetLines(),
		Head: audit.Head{Seq: resp.GetHeadSeq(), Hash: resp.GetHeadHash()}}, err
}
