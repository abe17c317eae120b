package replication_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

func binlogs(starts ...string) (logs []replication.Binlog) {
	for i, start := range starts {
		logs = append(logs, replication.Binlog{File: fmt.Sprintf("bin.%06d", i+1), Bytes: 10,
			Start: start})
	}
	return logs
}

func TestWhatCanBePurged(t *testing.T) {
	t.Parallel()
	type readers = []replication.Reader
	logs := binlogs("", "0-1-10", "0-1-20", "0-1-30")
	reserved := binlogs("", "0-1-10", "0-1-20", "0-1-30")
	reserved[1].Reserved = []string{"reservation r1"}
	tests := map[string]struct {
		logs    []replication.Binlog
		readers readers
		files   int
		kept    string
	}{
		"no log":           {nil, nil, 0, "there is no binary log"},
		"no replica":       {logs, nil, 3, "newest"},
		"all applied":      {logs, readers{{"db2", "0-1-35"}}, 3, "newest"},
		"just the begin":   {logs, readers{{"db2", "0-1-20"}}, 2, "db2 has applied no more"},
		"one before it":    {logs, readers{{"db2", "0-1-19"}}, 1, "db2 has applied no more"},
		"the slowest":      {logs, readers{{"db2", "0-1-35"}, {"db3", "0-1-12"}}, 1, "db3"},
		"nothing applied":  {logs, readers{{"db2", ""}}, 0, "db2"},
		"another domain":   {logs, readers{{"db2", "1-1-99"}}, 0, "db2"},
		"reserved":         {reserved, readers{{"db2", "0-1-35"}}, 1, "reservation r1 keeps it"},
		"slower than that": {reserved, readers{{"db2", "0-1-3"}}, 0, "db2"},
		"no positions":     {binlogs("", "", ""), readers{{"db2", "0-1-3"}}, 0, "db2"},
	}
	for name, test := range tests {
		got, err := replication.PlanPurge(test.logs, test.readers)
		if err != nil || got.Files != test.files || !strings.Contains(got.Kept, test.kept) ||
			got.Bytes != int64(10*test.files) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := replication.PlanPurge(logs, readers{{"db2", "nonsense"}}); err == nil {
		t.Error("a position that cannot be read allowed a purge")
	}
}

// No replica ever misses a transaction of a file that goes.
func TestPurgeKeepsWhatIsNeeded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seq, starts := 0, []string{""}
		for range rapid.IntRange(0, 6).Draw(t, "logs") {
			seq += rapid.IntRange(1, 9).Draw(t, "transactions")
			starts = append(starts, fmt.Sprintf("0-1-%d", seq))
		}
		applied := rapid.IntRange(1, 60).Draw(t, "applied")
		plan, err := replication.PlanPurge(binlogs(starts...), []replication.Reader{{Name: "db2",
			Applied: fmt.Sprintf("0-1-%d", applied)}})
		if err != nil {
			t.Fatal(err)
		}
		if plan.Files == 0 {
			return
		}
		var last int // sequence number of the last transaction that goes
		if _, err := fmt.Sscanf(plan.Start, "0-1-%d", &last); err != nil || last > applied {
			t.Errorf("%+v goes, applied is %d, %v", plan, applied, err)
		}
	})
}
