package job

import (
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
)

// TestAttemptsOfOneMomentAreAllListed has steps that begin in the same millisecond.
func TestAttemptsOfOneMomentAreAllListed(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1)
	all := []job.Attempt{{Seq: 0, Number: 9, Started: at}, {Seq: 0, Number: 10, Started: at},
		{Seq: 9, Number: 1, Started: at}, {Seq: 10, Number: 1, Started: at},
		{Seq: 2, Number: 2, Started: at.Add(time.Millisecond)}}
	var listed []job.Attempt
	for token := ""; ; {
		page, next, err := wire.Cut(wire.PageOf(1, token), all, "attempts", attemptKey)
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, page...)
		if token = next; token == "" {
			break
		}
	}
	if len(listed) != len(all) {
		t.Errorf("listed %+v of %+v", listed, all)
	}
}
