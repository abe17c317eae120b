package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
)

// renewLimit bounds one renewal, in which the agent asks the control plane in turn.
const renewLimit = time.Minute

// RenewerConfig is what a Renewer needs; all of it is required.
type RenewerConfig struct {
	// Lagging are the servers whose certificates are of an earlier phase of the replacement of the
	// root; nobody while none is replaced.
	Lagging func(ctx context.Context) ([]string, error)
	// Renew has the agent of a server renew its certificate and that of its MariaDB.
	Renew func(ctx context.Context, server string) error
	Log   *slog.Logger
}

// Renewer has agents renew their certificates while the root of the certificate authority is being
// replaced, and spares the operator to wait for the half of their lives.
type Renewer struct {
	cfg RenewerConfig

	round int
	waits map[string]wait
}

// wait is how long a server is left alone that was asked before, in rounds.
type wait struct{ until, rounds int }

// mostRounds bounds it.
const mostRounds = 32

// NewRenewer makes one.
func NewRenewer(cfg RenewerConfig) *Renewer {
	return &Renewer{cfg: cfg, waits: map[string]wait{}}
}

// due are the servers that are asked in this round: one that was asked and still lags waits twice
// as long each time, since each time costs it certificates.
func (r *Renewer) due(lagging []string) (servers []string) {
	r.round++
	waits := make(map[string]wait, len(lagging))
	for _, server := range lagging {
		w := r.waits[server]
		if r.round >= w.until {
			servers = append(servers, server)
			w.rounds = min(max(1, 2*w.rounds), mostRounds)
			w.until = r.round + w.rounds
		}
		waits[server] = w
	}
	r.waits = waits
	return servers
}

// Round asks those that lag. Who does not answer is asked again in a later one, and is no error of
// it: the state of the replacement names them. Rounds come one after the other.
func (r *Renewer) Round(ctx context.Context) error {
	lagging, err := r.cfg.Lagging(ctx)
	if err != nil {
		return fmt.Errorf("cannot say whose certificates are of an earlier root: %w", err)
	}
	var group errgroup.Group
	group.SetLimit(announceAtOnce)
	for _, server := range r.due(lagging) {
		group.Go(func() error {
			bounded, cancel := context.WithTimeout(ctx, renewLimit)
			defer cancel()
			if err := r.cfg.Renew(bounded, server); err != nil && ctx.Err() == nil {
				r.cfg.Log.Debug("an agent does not renew its certificate for another root yet",
					"server", server, "error", err)
			}
			return nil
		})
	}
	return group.Wait()
}
