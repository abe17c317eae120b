// Package systemd sees and changes units over D-Bus. Every changing call looks first, acts on the
// difference alone, waits for the end of systemd's job, and says whether it changed something.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"

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
	// Ready has the readiness probes by unit name; may be empty.
	Ready map[string]Ready
	// Allow is the allow-list that drop-ins' dependencies are checked against. Required.
	Allow *AllowList
	// Log gets one line a transition; default slog.Default().
	Log *slog.Logger
}

// Manager controls systemd. It is safe for concurrent use.
type Manager struct {
	exec    *hostexec.Runner
	unitDir string
	ready   map[string]Ready
	allow   *AllowList
	log     *slog.Logger

	mu     sync.Mutex
	conn   *dbus.Conn
	closed bool
	hub    hub
	// files serialises what writes below unitDir.
	files sync.Mutex
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
	if config.UnitDir == "" {
		config.UnitDir = "/etc/systemd/system"
	}
	if config.Log == nil {
		config.Log = slog.Default()
	}
	return &Manager{
		exec: config.Exec, unitDir: config.UnitDir, ready: config.Ready, allow: config.Allow,
		log: config.Log,
		hub: hub{watchers: map[*watcher]struct{}{}},
	}, nil
}

// SetReady sets the readiness probe of a unit. To be called before anything else is.
func (m *Manager) SetReady(unit string, probe Ready) {
	if m.ready == nil {
		m.ready = map[string]Ready{}
	}
	m.ready[unit] = probe
}

// Close ends the connection. Calls after it fail.
func (m *Manager) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	if m.conn != nil {
		m.conn.Close()
		m.conn = nil
	}
}

// Version is systemd's own version, for example "257.13-1~deb13u1".
func (m *Manager) Version(ctx context.Context) (string, error) {
	conn, err := m.connect(ctx)
	if err != nil {
		return "", err
	}
	version, err := conn.GetManagerProperty("Version")
	if err != nil {
		return "", wrap("cannot ask systemd for its version", "", err)
	}
	return unquote(version), nil
}

// connect is the live connection; it connects again when that is closed.
func (m *Manager) connect(ctx context.Context) (*dbus.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, down(errors.New("the agent is stopping"))
	}
	if m.conn != nil && m.conn.Connected() {
		return m.conn, nil
	}
	if m.conn != nil {
		m.conn.Close()
		m.conn = nil
	}
	conn, err := dial(ctx)
	if err != nil {
		return nil, down(err)
	}
	m.conn = conn
	m.hub.feedFrom(conn)
	return conn, nil
}

// dial gives up with ctx, but the connection outlives it: go-systemd binds a connection's life to
// the context it is made with.
func dial(ctx context.Context) (*dbus.Conn, error) {
	type answer struct {
		conn *dbus.Conn
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		conn, err := dbus.NewWithContext(context.Background())
		answers <- answer{conn, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return nil, fmt.Errorf("cannot reach systemd over D-Bus: %w", a.err)
		}
		return a.conn, nil
	case <-ctx.Done():
		go func() {
			if a := <-answers; a.err == nil {
				a.conn.Close()
			}
		}()
		return nil, fmt.Errorf("cannot reach systemd over D-Bus: %w", ctx.Err())
	}
}
