package server

import (
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// TestLevelThatIsNotKnownIsNoDefault sends a level of a later version.
func TestLevelThatIsNotKnownIsNoDefault(t *testing.T) {
	t.Parallel()
	for sent, want := range map[cpv1.VerifyLevel]inventory.VerifyLevel{
		cpv1.VerifyLevel_VERIFY_LEVEL_UNSPECIFIED: inventory.VerifySample,
		cpv1.VerifyLevel_VERIFY_LEVEL_FULL:        inventory.VerifyFull,
		77:                                        "",
	} {
		level := levelOf(sent)
		var wrong errs.Fields
		kit.FillLevel(&level, "verify", &wrong)
		if refused := wrong.Err() != nil; refused != (want == "") || !refused && level != want {
			t.Errorf("%v is %q, refused %v", sent, level, refused)
		}
	}
}
