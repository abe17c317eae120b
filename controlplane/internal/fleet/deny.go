package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/loop"
)

var denying = loop.Spec{Name: "tell agents who was revoked", Every: time.Second,
	Limit: 10 * time.Second, LateAfter: time.Minute,
	Means: "agents let in operators who were revoked"}

// DenierConfig is what a denier needs; all of it is required.
type DenierConfig struct {
	// Servers are the records as they are now.
	Servers func() []inventory.Server
	// List is the newest list.
	List func() ca.DenyList
	// Tell tells the agent of a server the list.
	Tell func(ctx context.Context, server string, list ca.DenyList) error
	Log  *slog.Logger
}

// NewDenier makes a teller of which operators' certificates were revoked.
func NewDenier(cfg DenierConfig) *Teller {
	return newTeller(tellerConfig{spec: denying, servers: cfg.Servers, log: cfg.Log,
		what: "who was revoked",
		tooOld: "an agent lets in operators who were revoked until their certificates " +
			"expire",
		news: func() (func(string) Notice, error) {
			list := cfg.List()
			if list.Sequence == 0 {
				return nil, nil // nobody was ever revoked
			}
			lacks := ""
			if list.Left > 0 {
				lacks = fmt.Sprintf("an agent lets in operators who were revoked: %d "+
					"certificates do not fit", list.Left)
			}
			return func(server string) Notice {
				return Notice{Version: strconv.FormatInt(list.Sequence, 10), Repeat: true,
					Log:   []any{"list", list.Sequence, "certificates", len(list.Certificates)},
					Lacks: lacks,
					Tell: func(ctx context.Context) error {
						return cfg.Tell(ctx, server, list)
					}}
			}, nil
		}})
}
