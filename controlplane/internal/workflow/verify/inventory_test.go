package verify

import (
	"context"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// listed is a server with some objects, digested in a way.
type listed struct {
	digests int
	objects []kit.Object
}

func (l listed) Inventory(_ context.Context, _ []string, each func(kit.Object)) (int, error) {
	for _, o := range l.objects {
		each(o)
	}
	return l.digests, nil
}

func inventories(primary, replica Lister) Inventories {
	return Inventories{Primary: primary, Replica: replica,
		Pass:  func(context.Context) (string, error) { return "0-1-1", nil },
		Found: func(string, ...any) {}}
}

// TestInventoriesOfTwoDigestsAreNotCompared: they would differ, or seem to be equal.
func TestInventoriesOfTwoDigestsAreNotCompared(t *testing.T) {
	t.Parallel()
	_, err := inventories(listed{}, listed{digests: 1}).Compare(t.Context())
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_UNIMPLEMENTED {
		t.Errorf("%v", err)
	}
}

// TestWhatNoAgentDigestsIsNotEqual has two sides without a digest, and without a reason.
func TestWhatNoAgentDigestsIsNotEqual(t *testing.T) {
	t.Parallel()
	both := listed{objects: []kit.Object{{Kind: "routine", Name: "shop.p procedure"},
		{Kind: "view", Name: "shop.v", Digest: "1"}}}
	got, err := inventories(both, both).Compare(t.Context())
	if err != nil || len(got.Different) > 0 || len(got.Open) != 1 {
		t.Errorf("%+v %v", got, err)
	}
}
