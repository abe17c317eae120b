package agentpool

import (
	"context"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// mostTables is how many an agent may tell of: it refuses fewer, and one that goes on without end
// is not believed.
const mostTables = 500_000

// Tables lists the tables of the user's schemas, all pages.
func (a *agent) Tables(ctx context.Context) ([]kit.Table, error) {
	var all []kit.Table
	for after := ""; ; {
		page, err := call(ctx, a, lookLimit, a.mariadb.ListTables,
			&agentv1.ListTablesRequest{After: after})
		if err != nil || len(page.GetTables()) == 0 {
			return all, err
		}
		for _, t := range page.GetTables() {
			all = append(all, table(t))
		}
		if after == all[len(all)-1].Name {
			return all, cutShort(a.server, "ListTables")
		}
		after = all[len(all)-1].Name
		if len(all) > mostTables {
			return nil, errs.New(errs.FailedPrecondition,
				errorsv1.Reason_REASON_TOO_MANY_OBJECTS,
				fmt.Sprintf("MariaDB on %s has more than %d tables, which are not looked at",
					a.server, mostTables), errs.Meta("server", a.server),
				errs.WithHint("drop what is not needed there, or move schemas to another server"))
		}
	}
}

// ChecksumRows sums the rows of a part of a table.
func (a *agent) ChecksumRows(ctx context.Context, req kit.ChecksumRows) (kit.RowSums, error) {
	asked := &agentv1.ChecksumRowsRequest{Table: req.Table, After: req.After, Rows: req.Rows,
		Budget: duration(req.Budget), AtGtid: req.AtGTID,
		MaxThreadsRunning: int32(min(req.MaxThreads, 1<<31-1))}
	for _, c := range req.Chunks {
		asked.Chunks = append(asked.Chunks, &agentv1.RowRange{After: c.After, Last: c.Last})
	}
	resp, err := call(ctx, a, changeLimit, a.mariadb.ChecksumRows, asked)
	return rowSums(resp), err
}

func table(t *agentv1.Table) kit.Table {
	return kit.Table{Name: t.GetName(), Rows: t.GetRows(), Bytes: t.GetBytes(),
		Created: t.GetCreated()}
}

func rowSums(m *agentv1.ChecksumRowsResponse) kit.RowSums {
	sums := kit.RowSums{GTID: m.GetGtid(), Busy: m.GetBusy(), Unfit: m.GetUnfit(),
		RowHash: int(m.GetRowHash())}
	for _, s := range m.GetSums() {
		sums.Sums = append(sums.Sums, kit.RowSum{Rows: s.GetRows(), Sum: s.GetSum(),
			RowRange: kit.RowRange{After: s.GetRange().GetAfter(), Last: s.GetRange().GetLast()}})
	}
	return sums
}
