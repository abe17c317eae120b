package verify

import (
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// TestAHistoryIsNotAcceptedForAPartOfTheData has a table that could not be compared.
func TestAHistoryIsNotAcceptedForAPartOfTheData(t *testing.T) {
	t.Parallel()
	h := &host.Host{Srv: inventory.Server{Name: "db2"}}
	h.AnyHistory()
	primary := &kit.Node{}
	primary.Name = "db1"
	c := &comparer{Pair: &host.Pair{Host: h, Primary: primary}, level: inventory.VerifyFull}
	err := c.tell("0-1-5", comparison{}, []string{"shop.log (MyISAM)"})
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_GTID_MISMATCH || errs.HintOf(err).Empty() {
		t.Errorf("accepted: %v", err)
	}
	err = c.tell("0-1-5", comparison{different: []string{"shop.t"}}, nil)
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_DATA_MISMATCH {
		t.Errorf("a difference: %v", err)
	}
}
