package workflow

import (
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Config is what the jobs work with. All but the last five are required.
type Config struct {
	Agents Agents
	Cloud  Cloud
	Store  Store
	Tokens Tokens
	Jobs   Jobs

	VolumeLimit time.Duration // how long the provider may take to make a volume; default 10 minutes

	Fleet  string        // marks what this control plane makes at the provider; default "default"
	Poll   time.Duration // how soon a wait looks again; default 250 ms
	Logger *slog.Logger
	Now    func() time.Time
}

// Workflow makes the jobs of the domain. Make one with New, then register what Plans returns with
// the engine.
type Workflow struct {
	Config

	mu sync.Mutex
	// when a job's reservation was renewed last; losing it costs one call
	renewed map[string]time.Time
}

const (
	defaultPoll        = 250 * time.Millisecond
	defaultVolumeLimit = 10 * time.Minute
)

// New makes a workflow; it does nothing by itself.
func New(cfg Config) (*Workflow, error) {
	if cfg.Agents == nil || cfg.Cloud == nil || cfg.Store == nil || cfg.Tokens == nil ||
		cfg.Jobs == nil {
		return nil, errors.New("workflow: agents, cloud, store, tokens and jobs are all needed")
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
	return &Workflow{Config: cfg, renewed: map[string]time.Time{}}, nil
}
