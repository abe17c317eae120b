package quiesce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
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
	// Clear ends a process that an earlier agent left behind, which was launched with a socket in
	// this directory, and resumes MariaDB.
	Clear(ctx context.Context, dir string) error
	// Stop ends the process that runs, and resumes MariaDB.
	Stop(ctx context.Context) error
	// Exit says how the process of this nonce ended that was launched so. When it returns, MariaDB
	// resumes, unless it was quiesced again since. The error says why it does not yet.
	Exit(ctx context.Context, dir, nonce string) (why string, err error)
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
	// unresumed is nil unless a process left MariaDB so.
	unresumed atomic.Pointer[unresumed]
	found     chan struct{} // closed once it is known what an earlier agent held; nil without any

	mu     sync.Mutex
	held   *hold       // that outlives its caller
	caller *Session    // who has it; nil after it left
	wait   *time.Timer // for a caller to adopt it
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

// Session is what a caller has of a time during which MariaDB is quiesced.
type Session struct {
	// Point is what is true at the consistent point.
	Point consistentpoint.Point

	hold  *hold
	taken chan struct{} // closed when another caller has adopted it
}

// Start quiesces MariaDB and reports progress meanwhile. ABORTED (QUIESCE_BUSY) when a session is
// active, FAILED_PRECONDITION (QUIESCE_NOT_ACQUIRED) when a lock was not acquired. ctx ends the
// session until Start returns; after that Resume or Close do.
func (m *Manager) Start(ctx context.Context, spec Spec, progress func(string)) (*Session, error) {
	if !m.active.CompareAndSwap(false, true) {
		return nil, m.busy()
	}
	h, err := m.start(ctx, spec, progress)
	if err != nil {
		m.over()
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if spec.outlives() {
		m.held = h
	}
	go h.listen(context.WithoutCancel(ctx)) // it ends with the process
	return m.attach(h), nil
}

// over allows the next session, at once if nothing is left of this one.
func (m *Manager) over() {
	if m.unresumed.Load() != nil || m.left() {
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

func (m *Manager) start(ctx context.Context, spec Spec, progress func(string)) (*hold, error) {
	conn, launched, err := m.launch(ctx, spec)
	if err != nil {
		return nil, err
	}
	h := m.newHold(spec, newConnection(conn))
	defer context.AfterFunc(ctx, func() { h.giveUp("its caller went away") })()
	if err := h.conn.send(message{Start: &spec}); err != nil {
		conn.Close()
		return nil, err
	}
	if err := h.awaitPoint(context.WithoutCancel(ctx), progress); err != nil {
		conn.Close()
		select {
		case launchErr := <-launched:
			err = errors.Join(err, launchErr)
		default:
		}
		return nil, err
	}
	return h, nil
}

// launch starts the process and accepts its connection. The launcher's own answer may come later.
func (m *Manager) launch(ctx context.Context, spec Spec) (conn *net.UnixConn, _ <-chan error,
	err error) {
	socket := filepath.Join(m.config.Dir, "quiesce.sock")
	listener, err := freeze.Listen(socket)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot quiesce MariaDB: %w", err)
	}
	defer listener.Close()
	launched, accepted := make(chan error, 1), make(chan accept)
	left := make(chan struct{})
	defer close(left)
	// One that starts late would meet the socket of a later caller.
	launching, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			giveUp()
		}
	}()
	go func() { launched <- m.config.Launcher.Launch(launching, spec, socket); giveUp() }()
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

// Ended is closed when the session is over: resumed, or broken.
func (s *Session) Ended() <-chan struct{} { return s.hold.ended }

// Taken is closed when another caller has adopted the session: it is over for this one.
func (s *Session) Taken() <-chan struct{} { return s.taken }

// Adopted is the error of a caller whose session another one has adopted.
func Adopted() error {
	return errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BUSY,
		"cannot go on with the quiesce: another stream has adopted it",
		errs.WithHint("leave it to the other caller"))
}

// Left is how much of the limit is left.
func (s *Session) Left() time.Duration { return max(0, time.Until(s.hold.until)) }

// Resume lets MariaDB continue and says whether the point was proved unbroken until then. A session
// that broke before is a Result too. ABORTED (QUIESCE_BUSY) when another caller has adopted it.
func (s *Session) Resume(ctx context.Context) (Result, error) {
	if !s.hold.manager.resumeFor(s) {
		return Result{}, Adopted()
	}
	result, err := s.hold.await(ctx)
	if s.lost() { // what was proved is the other caller's to know
		return Result{}, Adopted()
	}
	return result, err
}

// lost says that another caller has adopted the session.
func (s *Session) lost() bool {
	select {
	case <-s.taken:
		return true
	default:
		return false
	}
}

// Close ends the session without a proof, and waits until MariaDB has resumed. Closing twice is
// fine; after Resume it does nothing.
func (s *Session) Close() {
	if s.hold.over() {
		return
	}
	s.hold.giveUp("its caller ended it")
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	_, _ = s.hold.await(ctx)
	s.hold.conn.conn.Close()
}

// Leave is what the end of a caller means: the session ends, or waits for the caller to adopt it.
func (s *Session) Leave() {
	if s.hold.over() {
		return
	}
	if !s.hold.spec.outlives() {
		s.Close()
		return
	}
	s.hold.manager.leave(s)
}
