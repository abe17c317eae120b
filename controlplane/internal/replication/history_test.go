package replication_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

func TestLineage(t *testing.T) {
	t.Parallel()
	relies := replication.Lineage{History: "one", State: "0-1-100,0-2-90", Position: "0-1-100"}
	const state = "0-1-140,0-2-90"
	for name, test := range map[string]struct {
		primary replication.Status
		broken  string
	}{
		"same":      {replication.Status{BinlogHistory: "one", BinlogState: state}, ""},
		"not known": {replication.Status{BinlogState: state}, ""},
		"another": {replication.Status{BinlogHistory: "two", BinlogState: state},
			"another history"},
		"reset":       {replication.Status{BinlogState: ""}, "lacks"},
		"overtaken":   {replication.Status{BinlogState: "0-1-140"}, "lacks 0-2-90"},
		"not yet":     {replication.Status{BinlogState: "0-1-99,0-2-90"}, "lacks 0-1-100"},
		"more domain": {replication.Status{BinlogState: "0-1-140,0-2-90,3-3-3"}, ""},
	} {
		got := relies.Broken(test.primary)
		if (got == "") != (test.broken == "") || !strings.Contains(got, test.broken) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := (replication.Lineage{}).Broken(replication.Status{BinlogHistory: "two"}); got != "" {
		t.Errorf("nothing is relied on: %s", got)
	}
}
