package hold

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Launcher starts the process that holds, outside the agent's own life.
type Launcher interface {
	// Launch starts it and returns when it is armed, or failed. It connects to the socket
	// meanwhile.
	Launch(ctx context.Context, spec Spec, socket string) error
	// Clear ends one that an earlier agent left behind, and gives back what it held.
	Clear(ctx context.Context) error
}

// Config has what a Manager needs.
type Config struct {
	// Launcher starts the process. Required.
	Launcher Launcher
	// Appliers starts replication again that a hold has stopped and did not start. Required.
	Appliers Appliers
	// Dir is the agent's runtime directory, below which the socket is made; default
	// /run/understudy-agent.
	Dir string
	// Log gets one line a transition; default slog.Default().
	Log *slog.Logger
}

// Manager is the agent's side of holds: one at a time.
type Manager struct {
	config Config
	held   atomic.Bool
}

// New makes a Manager.
func New(config Config) (*Manager, error) {
	if config.Launcher == nil {
		return nil, errors.New("cannot make a hold manager: no launcher")
	}
	if config.Appliers == nil {
		return nil, errors.New("cannot make a hold manager: nothing to start replication with")
	}
	if config.Dir == "" {
		config.Dir = "/run/understudy-agent"
	}
	if config.Log == nil {
		config.Log = slog.Default()
	}
	return &Manager{config: config}, nil
}

const (
	// connectTime bounds the start of the process until it has connected.
	connectTime = 15 * time.Second
	// endTime bounds how long it may take to give everything back after it was told to.
	endTime = 10 * time.Second
)

// Held says whether a hold is open or on its way.
func (m *Manager) Held() bool { return m.held.Load() }

// Clear ends a hold that an earlier agent left behind, and sees to it that replication runs that it
// has stopped. To be called when the agent starts.
func (m *Manager) Clear(ctx context.Context) error {
	err := m.config.Launcher.Clear(ctx)
	if m.left() && m.held.CompareAndSwap(false, true) {
		go m.settle()
	}
	return err
}

// Hold is a point that is held.
type Hold struct {
	// Testimony is what was true at the point.
	Testimony mariadb.Testimony

	manager *Manager
	wire    *wire
	ended   chan struct{} // closed when the process has ended the hold
	result  *Result
	err     error
}

// Open makes a point and holds it. Progress is told meanwhile. ABORTED (HOLD_BUSY) when one is
// open, FAILED_PRECONDITION (HOLD_NOT_ACQUIRED) when the locks were not to be had. ctx ends it
// while it is on its way; after that Release or Close do.
func (m *Manager) Open(ctx context.Context, spec Spec, progress func(string)) (*Hold, error) {
	if !m.held.CompareAndSwap(false, true) {
		return nil, busy(nil)
	}
	h, err := m.open(ctx, spec, progress)
	if err != nil {
		m.over()
		return nil, err
	}
	return h, nil
}

// over lets the next hold come, at once if nothing is left of this one.
func (m *Manager) over() {
	if m.left() {
		go m.settle()
		return
	}
	m.held.Store(false)
}

func busy(cause error) error {
	return errs.New(errs.Aborted, errorsv1.Reason_REASON_HOLD_BUSY,
		"cannot hold a consistent point: another hold is open", errs.Wrap(cause),
		errs.WithHint("wait for its end: no hold outlives its limit"), errs.Retry(time.Second))
}

func (m *Manager) open(ctx context.Context, spec Spec, progress func(string)) (*Hold, error) {
	conn, launched, err := m.launch(ctx, spec)
	if err != nil {
		return nil, err
	}
	h := &Hold{manager: m, wire: newWire(conn), ended: make(chan struct{})}
	// A connection that cannot be closed is closed already.
	stop := context.AfterFunc(ctx, func() { _ = conn.CloseWrite() })
	defer stop()
	if err := h.wire.send(message{Open: &spec}); err != nil {
		conn.Close()
		return nil, err
	}
	if err := h.awaitTestimony(progress); err != nil {
		conn.Close()
		select {
		case launchErr := <-launched:
			err = errors.Join(err, launchErr)
		default:
		}
		return nil, err
	}
	go h.listen()
	return h, nil
}

// launch starts the process and takes its connection. The launcher's own answer may come later than
// that.
func (m *Manager) launch(ctx context.Context, spec Spec) (*net.UnixConn, <-chan error, error) {
	socket := filepath.Join(m.config.Dir, "hold.sock")
	if err := os.MkdirAll(m.config.Dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("cannot hold: %w", err)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("cannot hold: %w", err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, nil, fmt.Errorf("cannot hold: %w", err)
	}
	defer listener.Close()
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, nil, fmt.Errorf("cannot hold: %w", err)
	}
	launched, accepted := make(chan error, 1), make(chan accept, 1)
	go func() { launched <- m.config.Launcher.Launch(context.WithoutCancel(ctx), spec, socket) }()
	go func() {
		conn, err := listener.AcceptUnix()
		accepted <- accept{conn, err}
	}()
	timeout := time.NewTimer(connectTime)
	defer timeout.Stop()
	for {
		select {
		case a := <-accepted:
			return a.conn, launched, a.err
		case err := <-launched:
			if err != nil {
				return nil, nil, err
			}
			launched = nil // armed; its connection is on its way
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-timeout.C:
			return nil, nil, fmt.Errorf(
				"cannot hold: the process that holds did not connect within %s", connectTime)
		}
	}
}

type accept struct {
	conn *net.UnixConn
	err  error
}

func (h *Hold) awaitTestimony(progress func(string)) error {
	for {
		m, err := h.wire.receive()
		switch {
		case err != nil:
			return errs.New(errs.Internal, errorsv1.Reason_REASON_HOLD_BROKEN,
				"the process that holds ended before the point was reached",
				errs.Wrap(err), errs.WithHint(
					"see its journal (understudy-hold.service), then call again"))
		case m.Fault != nil:
			return m.Fault.err()
		case m.Testimony != nil:
			h.Testimony = *m.Testimony
			return nil
		case m.Progress != "" && progress != nil:
			progress(m.Progress)
		}
	}
}

// listen waits for the end of the hold, whoever brings it about.
func (h *Hold) listen() {
	defer close(h.ended)
	defer h.manager.over()
	defer h.wire.conn.Close()
	for {
		m, err := h.wire.receive()
		switch {
		case err != nil:
			h.err = fmt.Errorf("the process that held ended without a word: %w", err)
			return
		case m.Fault != nil:
			h.err = m.Fault.err()
			return
		case m.Result != nil:
			h.result = m.Result
			return
		}
	}
}

// Ended is closed when the hold is over: released, or broken.
func (h *Hold) Ended() <-chan struct{} { return h.ended }

// Release ends the hold and answers whether it was proved unbroken until then. A hold that broke
// before is a Result too.
func (h *Hold) Release(ctx context.Context) (Result, error) {
	// An error means that the other side is gone, which listen knows as well.
	_ = h.wire.send(message{Release: true})
	return h.await(ctx)
}

// Close ends the hold without a proof, and waits until everything is given back. Closing twice is
// fine, and after Release it does nothing.
func (h *Hold) Close() {
	// Half of the connection stays open, for the last word.
	_ = h.wire.conn.CloseWrite()
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	_, _ = h.await(ctx)
	h.wire.conn.Close()
}

func (h *Hold) await(ctx context.Context) (Result, error) {
	select {
	case <-h.ended:
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
	if h.result != nil {
		return *h.result, nil
	}
	return Result{BrokenReason: h.err.Error()}, nil
}
