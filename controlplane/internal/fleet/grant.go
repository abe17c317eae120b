package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// deliverLimit is how long a request waits for an agent to know its grant.
const deliverLimit = 5 * time.Second

var granting = loop.Spec{Name: "tell agents who may change them", Every: time.Second,
	Limit: 10 * time.Second, LateAfter: time.Minute,
	Means: "agents do not hear of grants, nor that one was revoked"}

// GranterConfig is what a granter needs; all of it is required.
type GranterConfig struct {
	// Servers are the records as they are now.
	Servers func() []inventory.Server
	// List is the newest list, or why it is not known.
	List func() (ca.GrantList, error)
	// Tell tells the agent of a server its list, and answers with the grants that are in force
	// there.
	Tell func(ctx context.Context, server string, list ca.GrantList) (inForce []string, err error)
	Log  *slog.Logger
}

// Granter tells agents which operators may make changing calls on them. An agent forgets it when it
// starts again.
type Granter struct {
	*Teller
	cfg GranterConfig
}

// NewGranter makes a granter.
func NewGranter(cfg GranterConfig) *Granter {
	return &Granter{cfg: cfg, Teller: newTeller(tellerConfig{spec: granting,
		servers: cfg.Servers, log: cfg.Log, what: "who may change it",
		tooOld: "an agent lets operators change what they like without a grant",
		news: func() (func(string) Notice, error) {
			list, err := cfg.List()
			if err != nil || list.Sequence == 0 { // there never was a grant
				return nil, err
			}
			return func(server string) Notice { return cfg.notice(server, list.On(server)) }, nil
		}})}
}

func (cfg GranterConfig) notice(server string, list ca.GrantList) Notice {
	var ids []string
	for _, g := range list.Grants {
		ids = append(ids, g.ID)
	}
	version := strings.Join(ids, " ")
	n := Notice{Version: version, Repeat: len(ids) > 0, Tell: func(ctx context.Context) error {
		_, err := cfg.Tell(ctx, server, list)
		return err
	}}
	if len(ids) > 0 {
		n.Log = []any{"grants", version}
	}
	return n
}

// Deliver tells the agent of a grant at once, or that it is over, and answers with why the agent
// does not know that yet; with nothing when it does.
func (g *Granter) Deliver(ctx context.Context, grant inventory.AgentGrant) (why string) {
	bounded, cancel := context.WithTimeout(ctx, deliverLimit)
	defer cancel()
	g.Forget(grant.Server) // told past the rounds: they do not know what the agent has now
	list, err := g.cfg.List()
	var inForce []string
	if err == nil {
		inForce, err = g.cfg.Tell(bounded, grant.Server, list.On(grant.Server))
	}
	switch {
	case errors.Is(err, errs.Unimplemented):
		return fmt.Sprintf("the agent of %s is too old for grants: it lets operators change "+
			"what they like without one; install this version there", grant.Server)
	case err != nil && bounded.Err() != nil:
		return fmt.Sprintf("the agent of %s did not answer within %s", grant.Server, deliverLimit)
	case err != nil:
		return err.Error()
	case grant.Left(time.Now()) > 0 && !slices.Contains(inForce, grant.ID):
		return fmt.Sprintf("by the clock of its host, which is ahead, the grant on the agent of "+
			"%s is over", grant.Server)
	}
	return ""
}
