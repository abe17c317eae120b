package ca

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	defaultTokenLife = 15 * time.Minute
	minTokenLife     = time.Minute
	maxTokenLife     = 24 * time.Hour
	// Operators' certificates live so long, for a revocation does not reach agents that are away.
	defaultOperatorLife  = 8 * time.Hour
	defaultOperatorGrace = 3 * 24 * time.Hour // a weekend
	// An agent's is stolen with its host, which may have been copied.
	defaultAgentLife  = 24 * time.Hour
	defaultAgentGrace = 30 * 24 * time.Hour
	// Those of MariaDB open one account, which a revocation drops.
	defaultLife = 30 * 24 * time.Hour
	minLife     = time.Minute
)

// Config is what a Registry needs. Authority and Store have no default.
type Config struct {
	// Authority signs.
	Authority *Authority
	// Store keeps the records.
	Store Store
	// ControlPlane are the addresses, host:port, under which new machines reach the control plane.
	// They go into join files; the hosts go into the control plane's certificate.
	ControlPlane []string
	// AgentLife is how long an agent's certificate is good; a day when 0.
	AgentLife time.Duration
	// AgentGrace is how long after its end it can still be renewed; 30 days when 0.
	AgentGrace time.Duration
	// MariaDBLife is how long a certificate of MariaDB is good; 30 days when 0.
	MariaDBLife time.Duration
	// ControlPlaneLife is how long the control plane's own certificate is good; 30 days when 0.
	ControlPlaneLife time.Duration
	// OperatorLife is how long an operator's certificate is good; eight hours when 0.
	OperatorLife time.Duration
	// OperatorGrace is how long after its end it can still be renewed; three days when 0.
	OperatorGrace time.Duration
	// TokenLife is how long a join token is good unless a request says; 15 minutes when 0.
	TokenLife time.Duration
	// Attestor lets machines join that their provider signs for; nil: a token alone does.
	Attestor Attestor
	// NAT are the addresses from which machines come that are behind a NAT: no certificate names
	// one.
	NAT []netip.Prefix
	// Enrolled hears of each server whose agent got its certificates by a token, after that was
	// recorded; may be nil.
	Enrolled func(server string)
	// Alarm hears of the action of each event which says that somebody may use what is not theirs,
	// one of AlarmActions; may be nil.
	Alarm func(action string)
	// Loops gets what Run does again and again; a set of its own when nil.
	Loops *loop.Set
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Logger is the default logger when nil.
	Logger *slog.Logger
}

// Registry issues, renews and revokes certificates, and keeps a record of each before anybody gets
// it.
type Registry struct {
	config   Config
	denied   denyList
	keeps    keeps
	shows    shows
	refusals refusals
	signing  lines
	rotating sync.RWMutex // held while the root is replaced, and shared by what names a root
}

// New makes a registry and reads the deny list.
func New(ctx context.Context, config Config) (*Registry, error) {
	if config.Authority == nil || config.Store == nil {
		return nil, errors.New(
			"cannot make the certificate registry: authority and store are needed")
	}
	config.fillDefaults()
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("cannot make the certificate registry: %w", err)
	}
	r := &Registry{config: config, denied: denyList{reading: make(chan struct{}, 1)}}
	if err := r.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("cannot make the certificate registry: %w", err)
	}
	return r, nil
}

func (c *Config) check() error {
	for _, life := range []time.Duration{c.AgentLife, c.MariaDBLife, c.ControlPlaneLife,
		c.OperatorLife, c.TokenLife} {
		if life < minLife {
			return fmt.Errorf("a life of %s: must be at least %s", life, minLife)
		}
	}
	for _, address := range c.ControlPlane {
		if host, _, err := net.SplitHostPort(address); err != nil || host == "" {
			return fmt.Errorf("address %q of the control plane: must be host:port", address)
		}
	}
	return nil
}

func (c *Config) fillDefaults() {
	fill(&c.AgentLife, defaultAgentLife)
	fill(&c.AgentGrace, defaultAgentGrace)
	fill(&c.MariaDBLife, defaultLife)
	fill(&c.ControlPlaneLife, defaultLife)
	fill(&c.OperatorLife, defaultOperatorLife)
	fill(&c.OperatorGrace, defaultOperatorGrace)
	fill(&c.TokenLife, defaultTokenLife)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Loops == nil {
		c.Loops = loop.NewSet(c.Logger)
	}
	if c.Alarm == nil {
		c.Alarm = func(string) {}
	}
	if c.Enrolled == nil {
		c.Enrolled = func(string) {}
	}
}

func fill(life *time.Duration, fallback time.Duration) {
	if *life == 0 {
		*life = fallback
	}
}

// Caller is on whose behalf the audit says that something was done.
type Caller struct {
	// Peer is the caller, as its connection proved it.
	Peer identity.Peer
	// RequestID is the id of the call.
	RequestID string
}

func (c Caller) event(at time.Time, action, subject, message string) inventory.Event {
	return inventory.Event{At: at, Actor: c.Peer.Identity.String(), RequestID: c.RequestID,
		Action: action, Subject: subject, Message: message}
}

// write runs a transaction; what the store itself fails with is worth another try.
func (r *Registry) write(ctx context.Context, what string,
	fn func(ctx context.Context, records Records) error) error {
	return storeError(what, r.config.Store.Write(ctx, fn))
}

// alone runs a transaction that issues or revokes, while no other does.
func (r *Registry) alone(ctx context.Context, what string,
	fn func(ctx context.Context, records Records) error) error {
	return r.write(ctx, what, func(ctx context.Context, records Records) error {
		if err := records.Certificates.Lock(ctx); err != nil {
			return err
		}
		return fn(ctx, records)
	})
}

func storeError(what string, err error) error {
	var known *errs.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return fmt.Errorf("%s: %w", what, err)
	default:
		return errs.New(errs.Unavailable, errorsv1.Reason_REASON_STORE_UNAVAILABLE, what,
			errs.Wrap(err),
			errs.Retry(time.Second),
			errs.WithHint(
				"try again; if it stays, see the control plane's log and the disk of its store"))
	}
}
