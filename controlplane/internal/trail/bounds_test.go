package trail_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/audit"
)

const chainOfDB1 = "servers/db1/000000000000000a"

// rows are how many records are kept of agents.
func (w *world) rows() (n int) {
	w.t.Helper()
	if err := w.db.QueryRowContext(w.t.Context(), "SELECT COUNT(*) FROM audit_records WHERE "+
		"chain <> 'controlplane'").Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// Root on a host does not fill the store by what its agent says: long lines, or empty ones.
func TestOneServersRecordsAreBounded(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		line        string
		lines       int
		atOnce      int
		least, most int
	}{
		"long":  {strings.Repeat("x", 60<<10), 1500, 20, 1000, 1200},
		"empty": {"", 80_000, 1000, 60_000, 70_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := newAgents(chainOfDB1)
			for range test.lines {
				from.lines = append(from.lines, test.line)
			}
			from.atOnce = test.atOnce
			w, f := fetching(t, from)
			for kept := -1; kept != w.rows(); { // a round has a limit of time
				kept = w.rows()
				round(t, f)
			}
			if n := w.rows(); n < test.least || n > test.most {
				t.Errorf("kept %d records", n)
			}
		})
	}
}

func TestBatchesThatAreNotTaken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		chain string
		lines []string
	}{
		"too many":         {chainOfDB1, make([]string, 1001)},
		"too long":         {chainOfDB1, []string{strings.Repeat("x", 64<<10+1)}},
		"another name":     {"servers/db1/0a", make([]string, 1)},
		"a name with more": {chainOfDB1 + "/x", make([]string, 1)},
	} {
		from := newAgents(test.chain)
		from.lines, from.atOnce = test.lines, len(test.lines)
		w, f := fetching(t, from)
		if round(t, f); w.rows() > 0 || from.asked != 1 {
			t.Errorf("%s: %d kept, asked %d times", name, w.rows(), from.asked)
		}
	}
}

// A batch is taken in several transactions.
func TestALargeBatch(t *testing.T) {
	t.Parallel()
	from := newAgents(chainOfDB1)
	from.atOnce = 1000
	w, f := fetching(t, from)
	from.append(t, 450)
	round(t, f)
	if got := w.verify(); w.rows() != 450 || len(w.problems()) > 0 || got.Count != 3 {
		t.Errorf("%d kept, %d transactions, %v", w.rows(), got.Count, w.problems())
	}
}

// Each chain of an agent is an installation: there are few of them in a day.
func TestAFloodOfChains(t *testing.T) {
	t.Parallel()
	w, f := fetching(t, newAgents(chainOfDB1))
	for i := range 20 {
		from := newAgents(fmt.Sprintf("servers/db1/%016x", i))
		from.append(t, 1)
		f.Agents = from
		round(t, f)
		round(t, f)
	}
	all, err := w.Verify(t.Context(), "")
	if err != nil || len(all) != 5 || all[1].Head == (audit.Head{}) {
		t.Errorf("%d chains, %v", len(all), err)
	}
}
