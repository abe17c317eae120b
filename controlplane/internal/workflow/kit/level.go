package kit

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// FillLevel sets the default of a level of verification, or collects that there is none such.
func FillLevel(l *inventory.VerifyLevel, field string, wrong *errs.Fields) {
	if *l == "" {
		*l = inventory.VerifySample
	}
	levels := []inventory.VerifyLevel{inventory.VerifyPosition, inventory.VerifySample,
		inventory.VerifyFull}
	wrong.Require(field, slices.Contains(levels, *l), "must be one of position, sample, full")
}

// RecordVerified records when, where and how far a replica was last compared. began is when that
// comparison began, and noted what the agent of a copy had noted by then.
func (r recording) RecordVerified(server string, v inventory.Verification, began time.Time,
	noted inventory.MarksSeen) Commit {
	return r.UpdateServer(server, func(srv *inventory.Server) error {
		srv.ProveData(v, began)
		srv.ProveMarks(v, noted)
		return nil
	}, "verified to level %s at %s", strings.ToLower(string(v.Level)), cmp.Or(v.GTID, "(empty)"))
}
