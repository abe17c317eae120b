package replication_test

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

func TestAServerWithAWrongClockIsNotHealthy(t *testing.T) {
	t.Parallel()
	here := time.Date(2026, 11, 29, 1, 2, 3, 0, time.UTC)
	for by, want := range map[time.Duration]string{
		0: "", 2 * time.Hour: "", -2 * time.Hour: "",
		32 * 24 * time.Hour: "2026-12-31 01:00 UTC, the control plane has 2026-11-29 01:00 UTC",
		-3 * time.Hour:      "2026-11-28 22:00 UTC, the control plane has 2026-11-29 01:00 UTC",
	} {
		s := replication.Status{Answers: true, ServerID: 7, LogBin: true,
			BinlogFile: "mariadb-bin.000001",
			Clock:      replication.Clock{Host: here.Add(by), Here: here}}
		why := text(replication.PrimaryFindings(s, 7))
		if (why == "") != (want == "") || !strings.Contains(why, want) {
			t.Errorf("off by %s: a primary: %q", by, why)
		}
		if why := text(replication.Want{}.Findings(s)); !strings.Contains(why, want) {
			t.Errorf("off by %s: a replica: %q", by, why)
		}
	}
}
