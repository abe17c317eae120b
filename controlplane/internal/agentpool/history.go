package agentpool

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/gtid"
	"github.com/understudy-db/understudy/proto/rpc/limits"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// ConfirmHistory tells the server's agent at the address what is known of the history of its binary
// log, and answers with the history that it has; empty when it cannot tell it yet.
func (p *Pool) ConfirmHistory(ctx context.Context, server, address string,
	known replication.Known) (string, error) {
	if address == "" {
		return "", unreachable(server, "its machine has no address yet", nil)
	}
	conn, err := p.line(server, address)
	if err != nil {
		return "", err
	}
	resp, err := call(ctx, newAgent(server, p.watched(conn)), lookLimit,
		agentv1.NewMariaDBServiceClient(p.watched(conn)).ConfirmHistory, confirmation(known))
	return resp.GetBinlogHistory(), err
}

func confirmation(known replication.Known) *agentv1.ConfirmHistoryRequest {
	request := &agentv1.ConfirmHistoryRequest{}
	if known.Claim.ID == "" {
		return request
	}
	request.Claim, request.SeenGtid = claimed(known.Claim), known.Seen
	if limits.Check(request) != nil || !positions(request.GetClaim().GetGtid(), known.Seen) {
		return &agentv1.ConfirmHistoryRequest{}
	}
	for _, r := range known.Reads {
		read := &agentv1.HistoryRead{Replica: r.Replica, File: r.File, Offset: r.Offset,
			Gtid: r.GTID}
		if ago := time.Since(r.Seen); !r.Seen.IsZero() && ago > 0 {
			read.SeenAgo = durationpb.New(ago)
		}
		// What the agent of a replica says is not to spoil what others say.
		if limits.Check(read) == nil && positions(r.GTID) {
			request.Reads = append(request.Reads, read)
		}
	}
	return request
}

func positions(all ...string) bool {
	for _, text := range all {
		if _, err := gtid.ParsePosition(text); err != nil {
			return false
		}
	}
	return true
}

func claimed(c replication.Claim) *agentv1.HistoryClaim {
	return &agentv1.HistoryClaim{Id: c.ID, File: c.File, Offset: c.Offset, Gtid: c.GTID,
		Digest: c.Digest}
}

func claim(c *agentv1.HistoryClaim) replication.Claim {
	return replication.Claim{ID: c.GetId(), File: c.GetFile(), Offset: c.GetOffset(),
		GTID: c.GetGtid(), Digest: c.GetDigest()}
}
