package kit

import (
	"context"
	"fmt"
	"slices"

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
		if Missing(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if srv.Job != what.Job.ID {
			return untaken(ctx, rec, srv)
		}
		if loss, err := losesData(ctx, rec, srv); err != nil || !loss {
			return err
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

// untaken refuses while another job makes of the server what it is: what the one made at the
// provider may not be marked as the other's yet.
func untaken(ctx context.Context, rec Records, srv inventory.Server) error {
	j, err := rec.Jobs.Get(ctx, srv.Job)
	if Missing(err) || err == nil && !j.State.Active() {
		return nil
	}
	if err != nil {
		return err
	}
	return Refuse(errorsv1.Reason_REASON_JOB_WRONG_STATE,
		Hint("wait for its end", errs.Call("WatchJob", "name", "jobs/"+j.ID)),
		"job %s has %s now", j.ID, srv.Name)
}

// losesData reports whether a user could miss what is on a server's volumes: it was READY, or it is
// a primary whose MariaDB was up on one of them. The data of a replica that was never READY are its
// primary's.
func losesData(ctx context.Context, rec Records, srv inventory.Server) (bool, error) {
	switch {
	case srv.State == inventory.ServerDeleted:
		return false, nil
	case !srv.FirstReady.IsZero() || srv.Role == inventory.RolePrimary && srv.DatadirVersion != "":
		return true, nil
	case srv.Role != inventory.RolePrimary:
		return false, nil
	}
	all, err := rec.Volumes.OfServer(ctx, srv.Name)
	return slices.ContainsFunc(all, func(v inventory.Volume) bool {
		replaced := v.ID != srv.DataVolume && v.State == inventory.VolumeAvailable
		return replaced && v.Job == srv.Job
	}), err
}
