package kit

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// guard refuses that a request on a job deletes the data of the server that the job made, once a
// user could miss them, unless the request names the server and its state.
func (k *Kit) guard(kind Kind) job.Guard[Records] {
	return func(ctx context.Context, rec Records, what job.Deletion) error {
		args, err := kind.Decode(what.Job.Args)
		if err != nil {
			return err
		}
		name := makes(args)
		if name == "" {
			return nil
		}
		srv, err := rec.Servers.Get(ctx, name)
		if errors.Is(err, inventory.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if srv.Job != what.Job.ID || !holdsData(srv) {
			return nil
		}
		confirmed := what.Confirm.Name == srv.Subject() || what.Confirm.Name == srv.Name
		if confirmed && what.Confirm.Etag == srv.Etag() {
			return nil
		}
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_DATA_LOSS_NOT_CONFIRMED,
			fmt.Sprintf("cannot delete the data of %s: it is %s, and the request does not "+
				"confirm it",
				srv.Name, srv.State),
			errs.WithHint("read the server, and confirm with its name and etag what is deleted"))
	}
}

// holdsData reports whether a user could miss what is on a server's volume: it was READY, or it is
// a primary whose MariaDB was up. The data of a replica that was never READY are its primary's.
func holdsData(srv inventory.Server) bool {
	if srv.State == inventory.ServerDeleted {
		return false
	}
	return EverReady(srv) || srv.Role == inventory.RolePrimary && srv.DatadirVersion != ""
}
