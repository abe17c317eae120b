package host

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// ObserveReplica is Observe for a replica that was READY, as the job madeBy made it. A later server
// of the name is left alone; again asks for another of what the caller's job is about it.
func ObserveReplica(ctx context.Context, c *kit.Call, name, madeBy, what string,
	again errs.Action) (*Host, error) {
	h, err := Observe(ctx, c, name)
	if err != nil {
		return nil, err
	}
	if h.Srv.Job != madeBy {
		return nil, inventory.NotFound(errs.WithHint("ask for another "+what, again),
			"the server of the job is gone, %s is a later one", h.Srv.Name)
	}
	return h, CheckReplica(h.Srv)
}

// CheckReplica refuses a server that is no replica, or was never READY.
func CheckReplica(srv inventory.Server) error {
	if srv.Role != inventory.RoleReplica {
		return kit.Refuse(errorsv1.Reason_REASON_WRONG_ROLE, kit.Hint("name a replica"),
			"%s is not a replica", srv.Name)
	}
	if srv.State == inventory.ServerStopped {
		return srv.IsStopped()
	}
	if !srv.InService() {
		return kit.Refuse(errorsv1.Reason_REASON_WRONG_ROLE,
			kit.Hint("wait until it is READY"), "%s is %s", srv.Name, srv.State)
	}
	return nil
}
