package job_test

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// BenchmarkHop is the time from one handler's answer to the next handler's call, on a store that
// flushes every commit: what the engine adds to the time that a primary's writes are blocked.
func BenchmarkHop(b *testing.B) {
	const steps = 50
	var last time.Time
	var sum time.Duration
	var hops int
	p := plan{Kind: "k"}
	for i := range steps {
		p.Steps = append(p.Steps, step{Kind: string(rune('A'+i/26)) + string(rune('a'+i%26)),
			Handler: func(context.Context, *job.Run) (outcome, error) {
				if !last.IsZero() {
					sum += time.Since(last)
					hops++
				}
				last = time.Now()
				return job.Done[*store.Tx](nil)
			}})
	}
	e := newEngine(b, config{Store: openStore(b)}, p)
	start(b, e)
	for b.Loop() {
		last = time.Time{}
		j := create(b, e, job.Request{Kind: "k"})
		await(b, e, j.ID, inState(job.Succeeded))
	}
	b.ReportMetric(float64(sum.Microseconds())/float64(hops), "µs/hop")
}
