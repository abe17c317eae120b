package agentpool

import (
	"context"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// binlogsAtOnce is a page of binary logs.
const binlogsAtOnce = 500

// ListBinlogs reads all binary logs, oldest first.
func (a *agent) ListBinlogs(ctx context.Context) (all []replication.Binlog, err error) {
	for token := ""; ; {
		resp, err := call(ctx, a, fileLimit, a.mariadb.ListBinlogs,
			&agentv1.ListBinlogsRequest{PageSize: binlogsAtOnce, PageToken: token})
		if err != nil {
			return nil, err
		}
		for _, b := range resp.GetBinlogs() {
			all = append(all, replication.Binlog{File: b.GetFile(), Bytes: b.GetSizeBytes(),
				Start: b.GetStartGtid(), Reserved: slices.DeleteFunc(b.GetNeededBy(),
					func(by string) bool { return !strings.HasPrefix(by, "reservation ") })})
		}
		if token = resp.GetNextPageToken(); token == "" {
			return all, nil
		}
	}
}

// PurgeBinlogs deletes the binary logs before that file.
func (a *agent) PurgeBinlogs(ctx context.Context, to string,
	f kit.FencingToken) (purged []string, err error) {
	resp, err := call(ctx, a, fileLimit, a.mariadb.PurgeBinlogs,
		&agentv1.PurgeBinlogsRequest{ToFile: to, FencingToken: fencingToken(f)})
	return resp.GetPurged(), err
}
