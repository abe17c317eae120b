package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// endLimit bounds ending the access of one replica.
const endLimit = 20 * time.Second

// AccessEnderConfig is what an AccessEnder needs; all of it is required.
type AccessEnderConfig struct {
	Store *store.Store
	// Servers are the records, as they were a moment ago.
	Servers func() []inventory.Server
	// End drops the replica's account on its primary, and ends its sessions there. Doing it twice
	// is fine.
	End func(ctx context.Context, primary, replica string) error
	Log *slog.Logger
}

// AccessEnder ends what replicas whose agents were revoked still read of their primaries: MariaDB
// on such a host has a key of its own, and a connection that goes on. A primary that is out of
// reach is asked again until it answers.
type AccessEnder struct {
	cfg AccessEnderConfig

	mu   sync.Mutex
	open map[string]string // why access is open still, by the replica's name
}

// NewAccessEnder makes one.
func NewAccessEnder(cfg AccessEnderConfig) *AccessEnder {
	return &AccessEnder{cfg: cfg, open: map[string]string{}}
}

// Open says why the access of a replica is open still: the error of the last try to end it. It is
// empty before the first try, and once access is ended.
func (e *AccessEnder) Open(replica string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.open[replica]
}

func (e *AccessEnder) note(replica string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		delete(e.open, replica)
		return
	}
	e.open[replica] = err.Error()
}

// Round ends the access of all whose agents were revoked since it last succeeded.
func (e *AccessEnder) Round(ctx context.Context) error {
	var group errgroup.Group
	group.SetLimit(announceAtOnce)
	for _, srv := range e.cfg.Servers() {
		if !srv.AccessRevoked.IsZero() {
			group.Go(func() error {
				err := e.end(ctx, srv.Name)
				e.note(srv.Name, err)
				return err
			})
		}
	}
	return group.Wait()
}

func (e *AccessEnder) end(ctx context.Context, name string) error {
	srv, follows, err := e.record(ctx, name)
	if err != nil || srv.AccessRevoked.IsZero() {
		return err
	}
	if follows {
		bounded, cancel := context.WithTimeout(ctx, endLimit)
		defer cancel()
		if err := e.cfg.End(bounded, srv.Primary, srv.Name); err != nil {
			return fmt.Errorf("cannot end what %s, whose agent was revoked, reads of %s: %w",
				srv.Name, srv.Primary, err)
		}
		e.cfg.Log.Info("ended what a replica reads of its primary: its agent was revoked",
			"server", srv.Name, "primary", srv.Primary)
	}
	return e.cfg.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		now, err := tx.Servers().Get(ctx, srv.Name)
		if errors.Is(err, inventory.ErrNotFound) {
			return nil
		}
		// Another primary, or another revocation, is for the next round.
		if err != nil || !now.AccessRevoked.Equal(srv.AccessRevoked) || now.Primary != srv.Primary {
			return err
		}
		now.AccessRevoked = time.Time{}
		if err := tx.Servers().Update(ctx, &now); err != nil || !follows {
			return err
		}
		return tx.Events().Add(ctx, inventory.Event{Actor: "controlplane",
			Action: "server.end_access", Subject: srv.Subject(), Message: "its account on " +
				srv.Primary + " is dropped and its sessions there are ended: its agent was " +
				"revoked"})
	})
}

// record reads the server as it is now, since one whose access was ended may have got another
// account meanwhile, and whether it follows a primary that is there.
func (e *AccessEnder) record(ctx context.Context, name string) (srv inventory.Server, follows bool,
	err error) {
	err = e.cfg.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		if srv, err = tx.Servers().Get(ctx, name); err != nil || srv.Primary == "" {
			return err
		}
		primary, err := tx.Servers().Get(ctx, srv.Primary)
		if follows = err == nil && primary.State != inventory.ServerDeleted; follows {
			return nil
		}
		return err
	})
	if errors.Is(err, inventory.ErrNotFound) {
		err = nil
	}
	return srv, follows, err
}
