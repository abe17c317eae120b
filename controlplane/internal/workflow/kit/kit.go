package kit

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Config is what steps work with. All but the last five are required.
type Config struct {
	Agents   Agents
	Provider Provider
	Store    Store
	Tokens   Tokens
	Jobs     Jobs

	// LastAudit fetches what the agent of a server recorded of its calls and nobody has yet, before
	// its machine goes. May be nil.
	LastAudit func(ctx context.Context, server string) error

	VolumeLimit time.Duration // how long the provider may take to make a volume; default 10 minutes

	Fleet  string        // marks what this control plane makes at the provider; default "default"
	Poll   time.Duration // how soon a wait looks again; default 250 ms
	Logger *slog.Logger
	Now    func() time.Time
}

// Kit is what steps work with, and the kinds of jobs that there are. Make one with New.
type Kit struct {
	Config
	kinds  map[string]Kind
	leases leases
}

const (
	defaultPoll        = 250 * time.Millisecond
	defaultVolumeLimit = 10 * time.Minute
)

// New makes a kit without kinds; it does nothing by itself.
func New(cfg Config) (*Kit, error) {
	if cfg.Agents == nil || cfg.Provider == nil || cfg.Store == nil || cfg.Tokens == nil ||
		cfg.Jobs == nil {
		return nil, errors.New("kit: agents, provider, store, tokens and jobs are all needed")
	}
	if cfg.Fleet == "" {
		cfg.Fleet = "default"
	}
	if cfg.Poll <= 0 {
		cfg.Poll = defaultPoll
	}
	if cfg.VolumeLimit <= 0 {
		cfg.VolumeLimit = defaultVolumeLimit
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Kit{Config: cfg, kinds: map[string]Kind{},
			leases: leases{last: map[string]time.Time{}}},
		nil
}

// Provider is what steps need of a provider.
type Provider interface {
	provider.Machines
	provider.Volumes
	provider.Snapshots
	// Name is the provider's kind.
	Name() string
	// SetTags adds tags to a machine, volume or snapshot.
	SetTags(ctx context.Context, id string, tags map[string]string) error
	// Images lists what machines can be made from.
	Images(ctx context.Context) ([]provider.Image, error)
}

// Tokens mints what a new machine's agent joins with.
type Tokens interface {
	// JoinFile returns the content of the join file for a server's new machine, with a fresh
	// one-time token.
	JoinFile(ctx context.Context, server string) ([]byte, error)
}

// Jobs reads the jobs, for what must not happen while another one is under way. *job.Engine is one.
type Jobs interface {
	// List reads a page of jobs, newest first.
	List(ctx context.Context, filter job.Filter) ([]job.Job, string, error)
	// Get reads one job.
	Get(ctx context.Context, id string) (job.Job, error)
}
