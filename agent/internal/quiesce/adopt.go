package quiesce

import (
	"context"
	"net"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Find takes over the session of an earlier agent that outlived it, for its job to adopt. Call it
// before the agent serves, and Clear afterwards.
func (m *Manager) Find() {
	// Until Clear is done nobody quiesces: it would end that session as well.
	m.active.Store(true)
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: heldSocket(m.config.Dir),
		Net: "unix"})
	if err != nil {
		return // no process listens
	}
	m.found = make(chan struct{})
	go m.takeOver(newConnection(conn))
}

// takeOver waits for what the process holds: on a host that is short of time, for a while.
func (m *Manager) takeOver(c *connection) {
	ctx := context.Background() // it ends with the process
	first, err := c.receive()
	if err != nil || first.Held == nil {
		c.conn.Close()
		m.clear(ctx)
		close(m.found)
		return
	}
	h := m.newHold(first.Held.Spec, c)
	h.reached(first.Held.Point, first.Held.Left)
	m.mu.Lock()
	m.held = h
	m.awaitCaller()
	m.mu.Unlock()
	m.config.Log.Info("MariaDB was quiesced by an earlier agent; its job may adopt that",
		"job", h.spec.Job, "within", h.spec.AdoptWithin, "left", first.Held.Left)
	close(m.found)
	h.listen(ctx)
}

// Clear ends what an earlier agent left that nobody may adopt, and starts replication that it has
// stopped. Call it when the agent starts. What it cannot do yet is tried again until it is done.
func (m *Manager) Clear(ctx context.Context) {
	if m.found != nil {
		return
	}
	m.active.Store(true)
	m.clear(ctx)
}

// Adopt goes on with a session of this job whose caller left, or that another caller of the job
// has. ABORTED (QUIESCE_BUSY) while MariaDB is quiesced for another one, ABORTED (QUIESCE_BROKEN)
// with the cause when it was lost. A session that has ended with a result is adopted as such.
func (m *Manager) Adopt(ctx context.Context, job, nonce string) (*Session, error) {
	if err := m.awaitFound(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	if h := m.held; h != nil {
		defer m.mu.Unlock()
		if !h.spec.of(job, nonce) {
			return nil, errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BUSY,
				"cannot adopt the quiesce: MariaDB is quiesced for another caller, or under "+
					"another nonce",
				errs.WithHint("wait for the other caller, which ends at its limit at the latest"),
				errs.Retry(time.Second))
		}
		return m.attach(h), nil
	}
	m.mu.Unlock()
	return m.past(ctx, job, nonce)
}

// End ends the session that this job has, whoever its caller is; without one the result is nil.
func (m *Manager) End(ctx context.Context, job string) (*Result, error) {
	if err := m.awaitFound(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	h := m.held
	m.mu.Unlock()
	if h == nil || h.spec.Job != job {
		return nil, nil
	}
	h.giveUp("its job ended it")
	result, err := h.await(ctx)
	return &result, err
}

// foundTime bounds the wait for what an earlier agent held.
const foundTime = 10 * time.Second

func (m *Manager) awaitFound(ctx context.Context) error {
	if m.found == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, foundTime)
	defer cancel()
	select {
	case <-m.found:
		return nil
	case <-ctx.Done():
		return errs.New(errs.Unavailable, errorsv1.Reason_REASON_TIMEOUT,
			"cannot adopt the quiesce yet: the process that holds MariaDB does not answer",
			errs.Wrap(ctx.Err()), errs.Retry(time.Second),
			errs.WithHint("call again; to give MariaDB back now, stop "+UnitName+" on the host"))
	}
}

// attach makes a caller the one that has the session; the one before it is told. The lock is held.
func (m *Manager) attach(h *hold) *Session {
	s := &Session{Point: h.point, hold: h, taken: make(chan struct{})}
	if m.held != h {
		return s
	}
	if m.wait != nil {
		m.wait.Stop()
	}
	if m.caller != nil {
		close(m.caller.taken)
	}
	m.caller = s
	return s
}

// leave waits for the caller to come back.
func (m *Manager) leave(s *Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.caller != s {
		return
	}
	m.caller = nil
	m.awaitCaller()
	m.config.Log.Info("MariaDB stays quiesced without a caller", "job", s.hold.spec.Job,
		"within", s.hold.spec.AdoptWithin, "left", s.Left())
}

// awaitCaller ends the session when nobody adopts it in time. The lock is held.
func (m *Manager) awaitCaller() {
	h := m.held
	var timer *time.Timer
	timer = time.AfterFunc(h.spec.AdoptWithin, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.held == h && m.caller == nil && m.wait == timer {
			h.giveUp("nobody adopted it within " + h.spec.AdoptWithin.String())
		}
	})
	m.wait = timer
}

// forget is called when a session is over.
func (m *Manager) forget(h *hold) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held != h {
		return
	}
	m.held, m.caller = nil, nil
	if m.wait != nil {
		m.wait.Stop()
	}
}

// resumeFor asks the process to resume, unless another caller took the session from this one.
// Nobody adopts it in between.
func (m *Manager) resumeFor(s *Session) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.lost() {
		return false
	}
	s.hold.request(message{Resume: true})
	return true
}
