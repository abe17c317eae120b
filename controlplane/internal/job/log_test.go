package job_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// What may need an operator is a warning, what does is an error, and what goes well is neither.
func TestLevelsOfTheLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log lockedBuffer
		e := newEngine(t, config{Store: openStore(t), Logger: slog.New(slog.NewTextHandler(&log,
			nil))}, plan{Kind: "k", Steps: []step{{Kind: "well", Handler: done}, {Kind: "ill",
			Attempts: 2, Handler: func(context.Context, *job.Run) (outcome, error) {
				return failed(errors.New("no route"))
			}}}})
		stop := start(t, e)
		await(t, e, create(t, e, job.Request{Kind: "k"}).ID, inState(job.Failed))
		stop()
		levels := map[string]string{}
		for line := range strings.Lines(log.String()) {
			_, rest, _ := strings.Cut(line, "level=")
			level, rest, _ := strings.Cut(rest, " ")
			for _, what := range []string{"step=well state=succeeded", "step=ill state=waiting",
				"step=ill state=failed", `msg="job released"`} {
				if strings.Contains(rest, what) {
					levels[what] = level
				}
			}
		}
		for what, want := range map[string]string{"step=well state=succeeded": "INFO",
			"step=ill state=waiting": "WARN", "step=ill state=failed": "WARN",
			`msg="job released"`: "ERROR"} {
			if levels[what] != want {
				t.Errorf("%s is logged as %q, want %s:\n%s", what, levels[what], want, log.String())
			}
		}
	})
}
