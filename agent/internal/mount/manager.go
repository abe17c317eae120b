// Package mount sees block devices, and makes sure that the right volume is mounted in the right
// place, now and after a reboot. A volume is searched under the names that its provider gives it
// in /dev/disk/by-id; what is mounted is proved, never assumed.
package mount

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
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
	// mountTimeout bounds the mount itself: a long journal is replayed by it, and a helper of mount
	// may take minutes. The unit has the same.
	mountTimeout = time.Hour
)

// Units reads and changes the states of units; *systemd.Manager is one.
type Units interface {
	Get(ctx context.Context, name string) (systemd.Unit, error)
	Ensure(ctx context.Context, name string, say systemd.Say) (systemd.Unit, []string, error)
	Stop(ctx context.Context, name string) (systemd.Unit, bool, error)
	TransientUnits
}

// Files reads and changes the administrator's unit files; *systemd.Files is one.
type Files interface {
	Read(name string) ([]byte, error)
	Install(ctx context.Context, name string, content []byte) ([]string, error)
	Delete(ctx context.Context, name string) (bool, error)
	Disable(ctx context.Context, name string) (systemd.Unit, bool, error)
	Reload(ctx context.Context) error
	DropIns
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
	// Units controls systemd, Files its files. Required.
	Units Units
	Files Files
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

// Manager changes mounts. It is safe for concurrent use; changes are made one after the other.
type Manager struct {
	// Freezer freezes what is mounted.
	Freezer *Freezer

	host        *host
	filesystems *filesystems
	allow       allowList
	units       Units
	files       Files
	patience    time.Duration
	log         *slog.Logger
	// changing is locked during a change.
	changing chan struct{}
}

// New makes a Manager.
func New(config Config) (*Manager, error) {
	if config.Exec == nil || config.Units == nil || config.Files == nil {
		return nil, errors.New("cannot make a mount manager: it needs tools and systemd")
	}
	if len(config.DeviceIDs) == 0 {
		config.DeviceIDs = []string{"*"}
	}
	for _, pattern := range slices.Concat(config.MountPoints, config.DeviceIDs) {
		if _, err := filepath.Match(pattern, "x"); err != nil {
			return nil, fmt.Errorf("cannot use %q as a pattern: %w", pattern, err)
		}
	}
	runtimeDir := cmp.Or(config.RuntimeDir, "/run/understudy-agent")
	stateDir := cmp.Or(config.StateDir, "/var/lib/understudy-agent")
	log := cmp.Or(config.Log, slog.Default())
	host := &host{root: config.Root, exec: config.Exec, log: log}
	allow := allowList{mountPoints: config.MountPoints, deviceIDs: config.DeviceIDs}
	return &Manager{
		Freezer: &Freezer{host: host, allow: allow, units: config.Units, runtimeDir: runtimeDir,
			guardExec: config.GuardExec, log: log},
		host: host, allow: allow, units: config.Units, files: config.Files, log: log,
		filesystems: &filesystems{host: host, runtimeDir: runtimeDir, stateDir: stateDir},
		patience:    cmp.Or(config.BusyPatience, defaultBusyPatience),
		changing:    make(chan struct{}, 1),
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

// Say reports progress to the caller, as text for an operator; it may be nil.
type Say func(progress string)

func (s Say) report(format string, args ...any) {
	if s != nil {
		s(fmt.Sprintf(format, args...))
	}
}
