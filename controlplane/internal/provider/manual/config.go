package manual

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

const (
	zone = "manual"
	// snapshotTime is the least that an operator needs to read a task and press a button.
	snapshotTime = time.Minute
	// keepClosed is how long ended tasks and terminated machines stay readable.
	keepClosed = 7 * 24 * time.Hour
	// observeAgain is how often a host is asked at most, however often its volumes are read.
	observeAgain = time.Second
)

// DeviceObserver asks the machines' own agents.
type DeviceObserver interface {
	// Devices are the names below /dev/disk/by-id that the machine shows now; an error when it
	// cannot be asked.
	Devices(ctx context.Context, machine provider.Machine) ([]string, error)
}

// Config says where the records are; Dir and Hosts are required.
type Config struct {
	// Dir holds the records. It is made when it is not there.
	Dir string
	// Images are what operators can make machines from.
	Images []provider.Image
	// Hosts show what is attached.
	Hosts DeviceObserver
	// Log gets a line for each task; default none.
	Log *slog.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Provider is the provider manual.
type Provider struct {
	cfg Config
	*ledger
	*hosts
}

// ledger is the file of the records, and the tasks in them.
type ledger struct {
	cfg Config

	mu   sync.Mutex // of the records
	tidy bool       // nothing is left of writers that were killed
}

// hosts is what the hosts of machines show.
type hosts struct {
	cfg Config

	mu   sync.Mutex
	seen map[string]observation // by machine: what its host showed when it was asked last
}

// observation is what a host showed, and when it was asked.
type observation struct {
	at      time.Time
	devices []string
	err     error
}

var _ interface {
	provider.Provider
	provider.Manual
} = (*Provider)(nil)

// New makes the provider. It writes nothing yet.
func New(cfg Config) (*Provider, error) {
	if !filepath.IsAbs(cfg.Dir) || cfg.Hosts == nil {
		return nil, provider.Errorf(provider.ErrInvalid, "",
			"the manual provider needs an absolute folder and the hosts to look at")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Provider{cfg, &ledger{cfg: cfg},
		&hosts{cfg: cfg, seen: map[string]observation{}}}, nil
}

// Name is "manual".
func (p *Provider) Name() string { return "manual" }

// SnapshotTime is the least time that an operator needs to copy a volume.
func (p *Provider) SnapshotTime() time.Duration { return snapshotTime }

// Check says whether the records can be read and images are declared.
func (p *Provider) Check(context.Context) error {
	if len(p.cfg.Images) == 0 {
		return provider.Errorf(provider.ErrInvalid, "",
			"provider manual cannot work here: no image is declared: name what machines are made "+
				"from with --manual-images NAME=MARIADB")
	}
	if _, err := p.read(); err != nil {
		return provider.Errorf(provider.ErrIncorrectState, "",
			"provider manual cannot work here: %w", err)
	}
	info, err := os.Stat(p.cfg.Dir)
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		return provider.Errorf(provider.ErrIncorrectState, "",
			"provider manual cannot work here: others can read %s: chmod 0700 it", p.cfg.Dir)
	}
	return nil
}

// Images are those that were declared.
func (p *Provider) Images(context.Context) ([]provider.Image, error) {
	return append([]provider.Image(nil), p.cfg.Images...), nil
}

func (p *Provider) image(name string) error {
	for _, image := range p.cfg.Images {
		if image.Name == name {
			return nil
		}
	}
	return provider.Errorf(provider.ErrNotFound, "",
		"there is no image %.70q", name)
}

func zoneOf(asked string) (string, error) {
	if asked != "" && asked != zone {
		return "", provider.Errorf(provider.ErrInvalid, "",
			"there is no zone %.70q: the only one is %s", asked, zone)
	}
	return zone, nil
}

var (
	deviceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:+=,@-]{2,199}$`)
	partition  = regexp.MustCompile(`-part[0-9]+$`)
	typeName   = regexp.MustCompile(`^[A-Za-z0-9._-]{0,40}$`)
)
