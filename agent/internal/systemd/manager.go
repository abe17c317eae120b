// Package systemd sees and changes units over D-Bus. Every changing call looks first, acts on the
// difference alone, waits for the end of systemd's job, and says whether it changed something.
package systemd

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
)

// pollInterval is how often a state is read again behind the signals that should have told of its
// change.
const pollInterval = 500 * time.Millisecond

// Ready says whether a unit that is active serves yet: nil when it does, else why not. The progress
// is for people and may be empty.
type Ready func(ctx context.Context, unit string) (progress string, err error)

// Config has what a Manager needs.
type Config struct {
	// Exec runs journalctl. Required.
	Exec *hostexec.Runner
	// UnitDir is where unit files and drop-ins are written; default /etc/systemd/system.
	UnitDir string
	// Allow is the allow-list that drop-ins' dependencies are checked against. Required.
	Allow *AllowList
	// Log gets one line a transition; default slog.Default().
	Log *slog.Logger
}

// Manager controls units. It is safe for concurrent use.
type Manager struct {
	// Files are the units' files.
	Files *Files
	// Journal is what units write.
	Journal Journal

	bus   *bus
	jobs  jobs
	ready map[string]Ready
	// startable are what must be true before a unit is started.
	startable map[string]Startable
	allow     *AllowList
	log       *slog.Logger
}

// New makes a Manager. It connects when first asked for something, and again whenever the
// connection was lost.
func New(config Config) (*Manager, error) {
	if config.Exec == nil {
		return nil, errors.New("cannot make a systemd manager: no runner for journalctl")
	}
	if config.Allow == nil {
		return nil, errors.New("cannot make a systemd manager: no allow-list")
	}
	log := cmp.Or(config.Log, slog.Default())
	bus := &bus{hub: hub{watchers: map[*watcher]struct{}{}}, log: log}
	journal := Journal{exec: config.Exec, log: log}
	return &Manager{
		Files: &Files{bus: bus, dir: cmp.Or(config.UnitDir, "/etc/systemd/system"),
			allow: config.Allow, log: log},
		Journal: journal, bus: bus, jobs: jobs{bus: bus, journal: journal, log: log},
		ready: map[string]Ready{}, startable: map[string]Startable{}, allow: config.Allow, log: log,
	}, nil
}

// Startable says whether a unit may be started: nil, or why not.
type Startable func(ctx context.Context, unit string) error

// SetStartable gives a unit a check before each start of Ensure. Call it before the first Ensure.
func (m *Manager) SetStartable(unit string, check Startable) { m.startable[unit] = check }

// SetReady sets the readiness probe of a unit. To be called before anything else is.
func (m *Manager) SetReady(unit string, probe Ready) {
	m.ready[unit] = probe
}

// Close ends the connection. Calls after it fail.
func (m *Manager) Close() { m.bus.close() }

// Version is systemd's own version, for example "257.13-1~deb13u1".
func (m *Manager) Version(ctx context.Context) (string, error) {
	conn, err := m.bus.connect(ctx)
	if err != nil {
		return "", err
	}
	version, err := conn.GetManagerProperty("Version")
	if err != nil {
		return "", wrap("cannot ask systemd for its version", "", err)
	}
	return unquote(version), nil
}
