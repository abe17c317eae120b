package quiesce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/understudy-db/understudy/agent/internal/freeze"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Launcher starts the process outside the agent's own life.
type Launcher interface {
	// Launch starts it and returns when it is armed, or failed. It connects to the socket
	// meanwhile.
	Launch(ctx context.Context, spec Spec, socket string) error
	// Clear ends a process that an earlier agent left behind, and resumes MariaDB.
	Clear(ctx context.Context) error
}

// Config has what a Manager needs.
type Config struct {
	// Launcher starts the process. Required.
	Launcher Launcher
	// Appliers starts replication that a process has stopped and not started again. Required.
	Appliers Appliers
	// Ended is called with the result of each session that reached its point, and how long the
	// point was held; may be nil.
	Ended func(result Result, held time.Duration)
	// Dir is the agent's runtime directory, where the socket is made; default
	// /run/understudy-agent.
	Dir string
	// Log gets one line a transition; default slog.Default().
	Log *slog.Logger
}

// Manager is the agent's side; it has one session at a time.
type Manager struct {
	config Config
	active atomic.Bool
}

// New makes a Manager.
func New(config Config) (*Manager, error) {
	if config.Launcher == nil {
		return nil, errors.New("cannot make a quiesce manager: no launcher")
	}
	if config.Appliers == nil {
		return nil, errors.New("cannot make a quiesce manager: nothing to start replication with")
	}
	if config.Dir == "" {
		config.Dir = "/run/understudy-agent"
	}
	if config.Log == nil {
		config.Log = slog.Default()
	}
	if config.Ended == nil {
		config.Ended = func(Result, time.Duration) {}
	}
	return &Manager{config: config}, nil
}

const (
	// connectTime bounds the time from the start of the process to its connection.
	connectTime = 15 * time.Second
	// endTime bounds the time that Close waits for MariaDB to resume.
	endTime = 10 * time.Second
)

// Active is true from the start of a session until MariaDB has resumed.
func (m *Manager) Active() bool { return m.active.Load() }

// Clear ends a session of an earlier agent, and starts replication that it has stopped. Call it
// when the agent starts.
func (m *Manager) Clear(ctx context.Context) error {
	err := m.config.Launcher.Clear(ctx)
	if m.left() && m.active.CompareAndSwap(false, true) {
		go m.settle()
	}
	return err
}

// Session is one time during which MariaDB is quiesced.
type Session struct {
	// Point is what is true at the consistent point.
	Point consistentpoint.Point

	manager *Manager
	conn    *connection
	ended   chan struct{} // closed when the process has ended the session
	result  *Result
	err     error
}

// Start quiesces MariaDB and reports progress meanwhile. ABORTED (QUIESCE_BUSY) when a session is
// active, FAILED_PRECONDITION (QUIESCE_NOT_ACQUIRED) when a lock was not acquired. ctx ends the
// session until Start returns; after that Resume or Close do.
func (m *Manager) Start(ctx context.Context, spec Spec, progress func(string)) (*Session, error) {
	if !m.active.CompareAndSwap(false, true) {
		return nil, busy(nil)
	}
	s, err := m.start(ctx, spec, progress)
	if err != nil {
		m.over()
		return nil, err
	}
	return s, nil
}

// over allows the next session, at once if nothing is left of this one.
func (m *Manager) over() {
	if m.left() {
		go m.settle()
		return
	}
	m.active.Store(false)
}

func busy(cause error) error {
	return errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BUSY,
		"cannot quiesce MariaDB: another caller has it quiesced", errs.Wrap(cause),
		errs.WithHint("wait for the other caller, which ends at its limit at the latest"),
		errs.Retry(time.Second))
}

func (m *Manager) start(ctx context.Context, spec Spec, progress func(string)) (*Session, error) {
	conn, launched, err := m.launch(ctx, spec)
	if err != nil {
		return nil, err
	}
	s := &Session{manager: m, conn: newConnection(conn), ended: make(chan struct{})}
	// A connection that cannot be closed is closed already.
	stop := context.AfterFunc(ctx, func() { _ = conn.CloseWrite() })
	defer stop()
	if err := s.conn.send(message{Start: &spec}); err != nil {
		conn.Close()
		return nil, err
	}
	if err := s.awaitPoint(progress); err != nil {
		conn.Close()
		select {
		case launchErr := <-launched:
			err = errors.Join(err, launchErr)
		default:
		}
		return nil, err
	}
	go s.listen()
	return s, nil
}

// launch starts the process and accepts its connection. The launcher's own answer may come later.
func (m *Manager) launch(ctx context.Context, spec Spec) (*net.UnixConn, <-chan error, error) {
	socket := filepath.Join(m.config.Dir, "quiesce.sock")
	listener, err := freeze.Listen(socket)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot quiesce MariaDB: %w", err)
	}
	defer listener.Close()
	launched, accepted := make(chan error, 1), make(chan accept)
	left := make(chan struct{})
	defer close(left)
	go func() { launched <- m.config.Launcher.Launch(context.WithoutCancel(ctx), spec, socket) }()
	go func() {
		conn, err := listener.AcceptUnix()
		select {
		case accepted <- accept{conn, err}:
		case <-left: // nobody waits for it any more, and the process must see that at once
			if err == nil {
				conn.Close()
			}
		}
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
			launched = nil // armed; its connection comes
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-timeout.C:
			return nil, nil, fmt.Errorf(
				"cannot quiesce MariaDB: the process did not connect within %s", connectTime)
		}
	}
}

type accept struct {
	conn *net.UnixConn
	err  error
}

func (s *Session) awaitPoint(progress func(string)) error {
	for {
		m, err := s.conn.receive()
		switch {
		case err != nil:
			return errs.New(errs.Internal, errorsv1.Reason_REASON_QUIESCE_BROKEN,
				"cannot quiesce MariaDB: the process ended before the point was reached",
				errs.Wrap(err), errs.WithHint("read its journal (journalctl -u "+UnitName+
					"), then call again"))
		case m.Fault != nil:
			return m.Fault.err()
		case m.Point != nil:
			s.Point = *m.Point
			return nil
		case m.Progress != "" && progress != nil:
			progress(m.Progress)
		}
	}
}

// listen waits for the end of the session, whatever ends it.
func (s *Session) listen() {
	began := time.Now()
	defer close(s.ended)
	defer s.manager.over()
	defer s.conn.conn.Close()
	for {
		m, err := s.conn.receive()
		switch {
		case err != nil:
			s.err = fmt.Errorf("the process ended without a result: %w", err)
			return
		case m.Fault != nil:
			s.err = m.Fault.err()
			return
		case m.Result != nil:
			s.result = m.Result
			s.manager.config.Ended(*m.Result, time.Since(began))
			return
		}
	}
}

// Ended is closed when the session is over: resumed, or broken.
func (s *Session) Ended() <-chan struct{} { return s.ended }

// Resume lets MariaDB continue and says whether the point was proved unbroken until then. A session
// that broke before is a Result too.
func (s *Session) Resume(ctx context.Context) (Result, error) {
	// An error means that the other side is gone, which listen notices as well.
	_ = s.conn.send(message{Resume: true})
	return s.await(ctx)
}

// Close ends the session without a proof, and waits until MariaDB has resumed. Closing twice is
// fine; after Resume it does nothing.
func (s *Session) Close() {
	// Half of the connection stays open for the result.
	_ = s.conn.conn.CloseWrite()
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	_, _ = s.await(ctx)
	s.conn.conn.Close()
}

func (s *Session) await(ctx context.Context) (Result, error) {
	select {
	case <-s.ended:
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
	if s.result != nil {
		return *s.result, nil
	}
	return Result{BrokenReason: s.err.Error()}, nil
}
