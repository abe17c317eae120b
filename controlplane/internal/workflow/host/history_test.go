package host_test

import (
	"errors"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// A history that is not known is not the same as any other.
func TestAHistoryThatIsNotKnown(t *testing.T) {
	t.Parallel()
	n := &kit.Node{}
	n.Name = "db1"
	var waits kit.Waiting
	if _, err := host.History(t.Context(), nil, n); !errors.As(err, &waits) {
		t.Errorf("a snapshot goes on: %v", err)
	}
	snap := inventory.Snapshot{ID: "snap-1", History: "a"}
	if err := host.SameHistory(snap, n); !errors.As(err, &waits) {
		t.Errorf("a replica is made: %v", err)
	}
	n.Status.BinlogHistory = "a"
	if id, err := host.History(t.Context(), nil, n); err != nil || id != "a" {
		t.Error(id, err)
	}
	for history, reason := range map[string]errorsv1.Reason{"a": 0,
		"":  errorsv1.Reason_REASON_GTID_MISMATCH,
		"b": errorsv1.Reason_REASON_GTID_MISMATCH} {
		err := host.SameHistory(inventory.Snapshot{ID: "snap-1", History: history}, n)
		if reason == 0 && err != nil || reason != 0 && errs.ReasonOf(err) != reason {
			t.Errorf("a snapshot of history %q: %v", history, err)
		}
	}
}
