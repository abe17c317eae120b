package fleet

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

const (
	// announceLimit bounds telling one agent.
	announceLimit = 10 * time.Second
	// announceAtOnce is how many agents are told at a time: some of them hang.
	announceAtOnce = 64
)

// AnnouncerConfig is what an announcer needs; all of it is required.
type AnnouncerConfig struct {
	Store *store.Store
	// Announce tells the agent of a server where the control plane is.
	Announce func(ctx context.Context, server string, addresses []string) error
	// Addresses are where agents reach this control plane, host:port. None: nothing is announced.
	Addresses []string
	Log       *slog.Logger
}

// Announcer tells each agent the addresses of the control plane, which it renews its certificate
// at, until the agent has those of now: after a restore on another machine they are others.
type Announcer struct{ cfg AnnouncerConfig }

// NewAnnouncer makes an announcer.
func NewAnnouncer(cfg AnnouncerConfig) *Announcer { return &Announcer{cfg: cfg} }

// Stale says whether the server's agent renews at other addresses than those of now.
func (a *Announcer) Stale(srv inventory.Server) bool {
	return len(a.cfg.Addresses) > 0 && srv.Address != "" && srv.AgentIdentity != "" &&
		srv.State != inventory.ServerDeleting && srv.State != inventory.ServerDeleted &&
		!slices.Equal(srv.ControlPlane, a.cfg.Addresses)
}

// Round tells all agents that do not know yet. One that is out of reach is told in a later round.
func (a *Announcer) Round(ctx context.Context) error {
	var all []inventory.Server
	err := a.cfg.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		all, err = tx.Servers().All(ctx)
		return err
	})
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(announceAtOnce)
	for _, srv := range all {
		if a.Stale(srv) {
			group.Go(func() error { return a.tell(ctx, srv.Name) })
		}
	}
	return group.Wait()
}

func (a *Announcer) tell(ctx context.Context, server string) error {
	bounded, cancel := context.WithTimeout(ctx, announceLimit)
	defer cancel()
	if err := a.cfg.Announce(bounded, server, a.cfg.Addresses); err != nil {
		a.cfg.Log.Debug("cannot tell an agent the addresses of the control plane yet", "server",
			server, "error", err)
		return nil
	}
	err := a.cfg.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		srv, err := tx.Servers().Get(ctx, server)
		if errors.Is(err, inventory.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		srv.ControlPlane = slices.Clone(a.cfg.Addresses)
		return tx.Servers().Update(ctx, &srv)
	})
	if err == nil {
		a.cfg.Log.Info("told an agent the addresses of the control plane", "server", server,
			"addresses", a.cfg.Addresses)
	}
	return err
}
