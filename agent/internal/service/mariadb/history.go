package mariadb

import (
	"context"
	"fmt"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// ConfirmHistory implements the RPC.
func (s *Service) ConfirmHistory(ctx context.Context,
	r *agentv1.ConfirmHistoryRequest) (*agentv1.ConfirmHistoryResponse, error) {
	f := errs.Fields{}
	c := r.GetClaim()
	position(&f, "claim.gtid", c.GetGtid())
	position(&f, "seen_gtid", r.GetSeenGtid())
	known := mariadb.KnownHistory{Seen: r.GetSeenGtid(), Claim: mariadb.HistoryClaim{ID: c.GetId(),
		File: c.GetFile(), Offset: c.GetOffset(), Gtid: c.GetGtid(), Digest: c.GetDigest()}}
	for i, read := range r.GetReads() {
		position(&f, fmt.Sprintf("reads[%d].gtid", i), read.GetGtid())
		known.Reads = append(known.Reads, mariadb.ReadPlace{Replica: read.GetReplica(),
			File: read.GetFile(), Offset: read.GetOffset(), Gtid: read.GetGtid(),
			SeenAgo: read.GetSeenAgo().AsDuration()})
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	id, reason, err := s.mariadb.ConfirmHistory(ctx, known)
	return &agentv1.ConfirmHistoryResponse{BinlogHistory: id, BinlogHistoryReason: reason}, err
}
