package mariadb

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

const (
	defaultRows   = 1000
	defaultBudget = 500 * time.Millisecond
)

// ListTables implements the RPC.
func (s *Service) ListTables(ctx context.Context,
	r *agentv1.ListTablesRequest) (*agentv1.ListTablesResponse, error) {
	tables, err := s.mariadb.Server.Tables(ctx, r.GetAfter())
	answer := &agentv1.ListTablesResponse{}
	for _, t := range tables {
		answer.Tables = append(answer.Tables, &agentv1.Table{Name: t.Name, Rows: t.Rows,
			Bytes: t.Bytes, Created: t.Created})
	}
	return answer, err
}

// ChecksumRows implements the RPC.
func (s *Service) ChecksumRows(ctx context.Context,
	r *agentv1.ChecksumRowsRequest) (*agentv1.ChecksumRowsResponse, error) {
	f := errs.Fields{}
	plan := mariadb.RowPlan{Table: r.GetTable(), After: mariadb.RowKey(r.GetAfter()),
		Rows: r.GetRows(), Budget: orDefault(r.GetBudget(), defaultBudget),
		At:        position(&f, "at_gtid", r.GetAtGtid()),
		OfReplica: r.GetAtGtid() != "", MaxThreads: int64(r.GetMaxThreadsRunning())}
	if err := f.Err(); err != nil {
		return nil, err
	}
	if plan.Rows == 0 {
		plan.Rows = defaultRows
	}
	for _, c := range r.GetChunks() {
		plan.Chunks = append(plan.Chunks, mariadb.RowRange{After: mariadb.RowKey(c.GetAfter()),
			Last: mariadb.RowKey(c.GetLast())})
	}
	sums, err := s.mariadb.Server.ChecksumRows(ctx, plan)
	answer := &agentv1.ChecksumRowsResponse{Gtid: sums.Gtid, Busy: sums.Busy, Unfit: sums.Unfit,
		RowHash: mariadb.RowHash}
	for _, sum := range sums.Sums {
		answer.Sums = append(answer.Sums, &agentv1.RowSum{Rows: sum.Rows, Sum: sum.Sum,
			Range: &agentv1.RowRange{After: sum.After, Last: sum.Last}})
	}
	return answer, err
}
