package host_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// TestAPrimaryThatDoesNotLogAll is refused with what helps: no option file deletes a binary log.
func TestAPrimaryThatDoesNotLogAll(t *testing.T) {
	t.Parallel()
	removed := "the current binary log, b.000001, is not there any more"
	ignored := map[string]string{"binlog_ignore_db": "app"}
	for _, test := range []struct {
		st   replication.Status
		hint string
	}{
		{replication.Status{BinlogHistory: "one"}, ""},
		{replication.Status{HistoryReason: removed}, "`FLUSH BINARY LOGS` in MariaDB on db1"},
		{replication.Status{BinlogHistory: "one", Settings: ignored}, "out of its option files"},
		{replication.Status{HistoryReason: removed, Settings: ignored}, "out of its option files"},
	} {
		st := test.st
		st.Answers, st.LogBin, st.BinlogFile = true, true, "b.000001"
		err := host.LogsAll(&kit.Node{Server: inventory.Server{Name: "db1"}, Status: st})
		if text := errs.HintOf(err).Text; (err == nil) != (test.hint == "") ||
			!strings.Contains(text, test.hint) {
			t.Errorf("%+v: %v, %s", st, err, text)
		}
	}
}
