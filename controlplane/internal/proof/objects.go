package proof

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/verify"
)

// passLimit is how long a replica may take to apply what its primary has.
const passLimit = 30 * time.Second

// differentObjects compares the inventories; theirs is the primary's status. Nothing is written on
// the primary: its position is taken as it is.
func (w *work) differentObjects(ctx context.Context, primary, replica kit.Agent,
	theirs replication.Status) (got verify.Compared, err error) {
	ours, err := replica.Status(ctx)
	if err != nil {
		return got, err
	}
	return verify.Inventories{Primary: primary, Replica: replica, Of: w.of, With: w.name,
		Newer: replication.Series(theirs.ServerVersion) != replication.Series(ours.ServerVersion),
		Pass: func(ctx context.Context) (string, error) {
			now, err := primary.Status(ctx)
			if err != nil {
				return "", err
			}
			reached, err := replica.WaitForGTID(ctx, now.BinlogPos, passLimit, func(kit.Waited) {})
			if err == nil && !reached {
				err = errors.New("the replica does not apply the primary's position")
			}
			return now.BinlogPos, err
		}, Found: func(string, ...any) {}}.Compare(ctx)
}
