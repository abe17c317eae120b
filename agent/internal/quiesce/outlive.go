package quiesce

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/freeze"
	"github.com/understudy-db/understudy/proto/consistentpoint"
)

// heldSocket is where the process of a session that outlives its agent waits for the next one.
func heldSocket(dir string) string { return filepath.Join(dir, "quiesce.held.sock") }

// outlivesStatus is the unit's status once the session outlives its agent: the package's script
// `restart` looks for these words.
const outlivesStatus = "held; goes on without the agent"

// line is the process's way to its agent: to the one that started it, then to those after it.
type line struct {
	mu       sync.Mutex
	conn     *connection // nil while there is no agent
	listener *net.UnixListener
	held     *held // of a session that outlives its agent, once it has its point
	until    time.Time
	result   *Result
}

// send tells the agent, if there is one.
func (l *line) send(m message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return errGone
	}
	return l.conn.send(m)
}

// heed does what an agent asks for, unless another one took its place; it says whether it did.
func (l *line) heed(c *connection, do func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != c {
		return false
	}
	do()
	return true
}

// lost takes note of the end of a connection, and says whether the session goes on without it.
func (l *line) lost(c *connection) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != c {
		return true // it was replaced
	}
	if l.held != nil {
		c.conn.Close()
		l.conn = nil
	}
	return l.held != nil
}

// take puts an agent in the place of the one before, and tells it what is held.
func (l *line) take(c *connection) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		l.conn.conn.Close()
	}
	l.conn = c
	now := *l.held
	now.Left = time.Until(l.until)
	err := c.send(message{Held: &now})
	if l.result != nil {
		err = errors.Join(err, c.send(message{Result: l.result}))
	}
	return err
}

func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != nil {
		l.listener.Close()
	}
	if l.conn != nil {
		l.conn.conn.Close()
	}
}

// report tells the agent the point. What outlives the agent can be found before anybody knows of
// the point.
func (p *process) report(point consistentpoint.Point, until time.Time) error {
	if !p.spec.outlives() {
		return p.agent.send(message{Point: &point, Left: time.Until(until)})
	}
	dir := filepath.Dir(p.config.Socket)
	if err := writeRecord(dir, record{Spec: p.spec, Point: point}); err != nil {
		return err
	}
	listener, err := freeze.Listen(heldSocket(dir))
	if err != nil {
		return fmt.Errorf("cannot wait for another agent: %w", err)
	}
	p.agent.mu.Lock()
	p.agent.held, p.agent.until = &held{Spec: p.spec, Point: point}, until
	p.agent.listener = listener
	p.agent.mu.Unlock()
	go p.accept(listener)
	p.config.Notify("STATUS=" + outlivesStatus)
	// An agent that is gone is told when it comes back.
	_ = p.agent.send(message{Point: &point, Left: time.Until(until)})
	return nil
}

// accept waits for the agents that come after the one that started the process.
func (p *process) accept(listener *net.UnixListener) {
	for {
		conn, err := listener.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			p.config.Log.Warn("cannot accept another agent yet", "error", err)
			<-time.After(settleInterval)
			continue
		case !sameUser(conn):
			conn.Close()
			continue
		}
		p.config.Log.Info("another agent has taken the quiesce over")
		c := newConnection(conn)
		// listen notices an agent that is gone.
		_ = p.agent.take(c)
		go p.listen(c)
	}
}

// sameUser says that the process at the other end runs as the same user.
func sameUser(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred
	controlErr := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return controlErr == nil && err == nil && int(peer.Uid) == os.Geteuid()
}

// end keeps the result for whoever asks later, and tells the agent.
func (p *process) end(point consistentpoint.Point, result Result) {
	if p.spec.outlives() {
		if err := writeRecord(filepath.Dir(p.config.Socket),
			record{Spec: p.spec, Point: point, Result: &result}); err != nil {
			p.config.Log.Warn("cannot keep the result for a caller that comes later", "error", err)
		}
	}
	p.agent.mu.Lock()
	p.agent.result = &result
	p.agent.mu.Unlock()
	// The connection is half closed by an agent that gave up, and gone when it died.
	_ = p.agent.send(message{Result: &result})
}
