package app

import (
	"context"
	"os"

	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
)

// breakGlassName is the socket in the state directory over which root says who the operators are,
// when no admin is left to do so.
const breakGlassName = "break-glass.sock"

// openBreakGlass makes the server on the socket. Without the socket the control plane works on: it
// is needed on the day on which all else is lost.
func (a *App) openBreakGlass(ctx context.Context, rules authz.Table) error {
	listener, err := chassis.ListenLocal(ctx, a.cfg.path(breakGlassName))
	if err != nil {
		a.log.Error("there is no break-glass: when no admin is left, nobody makes one", "error",
			err)
		return nil
	}
	a.closers = append(a.closers, listener.Close)
	a.local, err = chassis.New(chassis.Config{Listener: listener, Rules: rules, Logger: a.log,
		Audit:      a.audit,
		LocalUsers: []uint32{0, uint32(os.Geteuid())}})
	return err
}
