// Package mount sees block devices, and makes sure that the right volume is mounted in the right
// place, now and after a reboot. A volume is searched under the names that its provider gives it
// in /dev/disk/by-id; what is mounted is proved, never assumed.
package mount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/systemd"
)

const (
	pollInterval         = 500 * time.Millisecond
	defaultDeviceTimeout = time.Minute
	defaultBusyPatience  = 10 * time.Second
	// checkTimeout bounds a check of a filesystem; large ones take long.
	checkTimeout = 6 * time.Hour
	mountTimeout = 10 * time.Minute
)

// Units is what mounting needs of systemd; *systemd.Manager is one.
type Units interface {
	UnitStates
	UnitFiles
	DropIns
	TransientUnits
}

// UnitStates reads and changes the states of units.
type UnitStates interface {
	Get(ctx context.Context, name string) (systemd.Unit, error)
	Ensure(ctx context.Context, name string, say systemd.Say) (systemd.Unit, []string, error)
	Stop(ctx context.Context, name string) (systemd.Unit, bool, error)
	Disable(ctx context.Context, name string) (systemd.Unit, bool, error)
	ReloadDaemon(ctx context.Context) error
}

// UnitFiles reads and changes the administrator's unit files.
type UnitFiles interface {
	UnitFile(name string) ([]byte, error)
	InstallUnitFile(ctx context.Context, name string, content []byte) ([]string, error)
	DeleteUnitFile(ctx context.Context, name string) (bool, error)
}

// DropIns reads and changes drop-ins of units.
type DropIns interface {
	SetDropIn(ctx context.Context, unit, name, content string) (bool, error)
	DeleteDropIn(ctx context.Context, unit, name string) (bool, error)
	DropIns(name string) (map[string]string, error)
}

// TransientUnits starts and stops transient units.
type TransientUnits interface {
	StartTransient(ctx context.Context, name string, spec systemd.TransientSpec) error
	StartTransientTimer(ctx context.Context, name string, after time.Duration,
		spec systemd.TransientSpec) error
	StopTransient(ctx context.Context, name string) error
}

// Config has what a Manager needs.
type Config struct {
	// Exec runs the filesystems' tools. Required.
	Exec *hostexec.Runner
	// Units controls systemd. Required.
	Units Units
	// MountPoints are shell patterns of the paths that may be mounted on and unmounted. Required.
	MountPoints []string
	// DeviceIDs are shell patterns of names below /dev/disk/by-id that may be mounted or formatted;
	// all when empty.
	DeviceIDs []string
	// RuntimeDir is a directory of the agent's own that vanishes at a reboot; default
	// /run/understudy-agent.
	RuntimeDir string
	// StateDir is a directory of the agent's own that lasts; default /var/lib/understudy-agent.
	StateDir string
	// GuardExec is the argument list, without its flags, of the program that thaws whatever happens
	// to the agent.
	GuardExec []string
	// BusyPatience is how long a mount that is in use is tried again; 10 s when 0.
	BusyPatience time.Duration
	// Root is prefixed to /dev, /sys, /proc and /etc; for tests.
	Root string
	// Log gets one line a change; default slog.Default().
	Log *slog.Logger
}

// Manager sees and changes mounts. It is safe for concurrent use; changes are made one after the
// other.
type Manager struct {
	exec        *hostexec.Runner
	units       Units
	mountPoints []string
	deviceIDs   []string
	runtimeDir  string
	stateDir    string
	guardExec   []string
	patience    time.Duration
	root        string
	log         *slog.Logger
	// changing is locked during a change.
	changing chan struct{}
	freezes  freezes
}

// New makes a Manager.
func New(config Config) (*Manager, error) {
	if config.Exec == nil || config.Units == nil {
		return nil, errors.New("cannot make a mount manager: it needs tools and systemd")
	}
	if len(config.DeviceIDs) == 0 {
		config.DeviceIDs = []string{"*"}
	}
	for _, pattern := range append(append([]string{}, config.MountPoints...), config.DeviceIDs...) {
		if _, err := filepath.Match(pattern, "x"); err != nil {
			return nil, fmt.Errorf("cannot use %q as a pattern: %w", pattern, err)
		}
	}
	if config.BusyPatience == 0 {
		config.BusyPatience = defaultBusyPatience
	}
	if config.RuntimeDir == "" {
		config.RuntimeDir = "/run/understudy-agent"
	}
	if config.StateDir == "" {
		config.StateDir = "/var/lib/understudy-agent"
	}
	if config.Log == nil {
		config.Log = slog.Default()
	}
	return &Manager{
		exec: config.Exec, units: config.Units, mountPoints: config.MountPoints,
		deviceIDs:  config.DeviceIDs,
		runtimeDir: config.RuntimeDir, stateDir: config.StateDir, guardExec: config.GuardExec,
		patience: config.BusyPatience, root: config.Root, log: config.Log,
		changing: make(chan struct{}, 1), freezes: freezes{open: map[string]struct{}{}},
	}, nil
}

// lock waits for the one who changes something now.
func (m *Manager) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case m.changing <- struct{}{}:
		return func() { <-m.changing }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("cannot wait for another change of mounts: %w", ctx.Err())
	}
}

func (m *Manager) path(elements ...string) string {
	return filepath.Join(append([]string{m.root, "/"}, elements...)...)
}

// Say reports progress to the caller, as text for an operator; it may be nil.
type Say func(progress string)

func (s Say) report(format string, args ...any) {
	if s != nil {
		s(fmt.Sprintf(format, args...))
	}
}
