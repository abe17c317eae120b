//go:build lab

package mariadb_test

import (
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
)

// A sample says what a full status says of the same moment, and costs a fraction of it.
func TestSampleOfARealServer(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true, ServerID: 7})
		full, err := i.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sampled := i.Sample(t.Context(), full)
		if !sampled.Answers || sampled.Live.ServerID != 7 ||
			sampled.Live.Version != full.Live.Version || sampled.Live.Gtid != full.Live.Gtid ||
			sampled.Live.ReadOnly != full.Live.ReadOnly ||
			sampled.Live.BinlogFile != full.Live.BinlogFile {
			t.Errorf("sampled %+v, want %+v", sampled.Live, full.Live)
		}
		i.Exec("SET GLOBAL read_only = 1", "SET GLOBAL event_scheduler = 1")
		if now := i.Sample(t.Context(), full); !now.Live.ReadOnly ||
			now.Live.EventScheduler != "ON" {
			t.Errorf("what changed is not in the sample: %+v", now.Live)
		}
		const rounds = 200
		sample := average(rounds, func() {
			i.Sample(t.Context(), full)
			_, _ = i.Server.Connections(t.Context())
		})
		status := average(rounds/10, func() { _, _ = i.Status(t.Context()) })
		t.Logf("a sample takes %s, a full status %s", sample, status)
		if sample > status {
			t.Errorf("a sample takes %s, a full status %s", sample, status)
		}
		i.Kill()
		if now := i.Sample(t.Context(), full); now.Answers || now.DownReason == "" {
			t.Errorf("a sample of a killed MariaDB: %+v", now)
		}
	})
}

func average(n int, do func()) time.Duration {
	began := time.Now()
	for range n {
		do()
	}
	return time.Since(began) / time.Duration(n)
}
