package chassis

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Room is what callers may hold of a server at a time. What is over it is refused as soon as it is
// seen: a connection is closed before its handshake, or by it, and a call before its request is
// read.
type Room struct {
	// Connections are all; 4096 when 0.
	Connections int
	// Strangers are connections of an address that have shown no certificate, those in their
	// handshake included; 64 when 0. All addresses together have eight times as many: who comes
	// then takes the place of the oldest of the address that has most.
	Strangers int
	// PerCaller are the connections of one identity; 128 when 0.
	PerCaller int
	// Calls are those under way of one identity, those that hang after their caller left included;
	// 100 when 0. The control plane is not bound by it.
	Calls int
	// StrangersCalls are those under way of an address, of callers without a certificate; 10 when
	// 0.
	StrangersCalls int
	// Unread is how much of the answers to one identity may be under way at a time, in bytes: made,
	// and not yet sent because it does not read them; 4 MiB when 0. What is over it waits. The
	// control plane is not bound by it.
	Unread int
	// UnreadWait is how long a call waits for that at most; 10 s when 0.
	UnreadWait time.Duration
	// StrangersUnread is the same for an address, of callers without a certificate; 1 MiB when 0.
	StrangersUnread int
	// StrangersTime ends a connection that has shown no certificate, and what it calls; a minute
	// when 0.
	StrangersTime time.Duration
}

const (
	defaultConnections = 4096
	defaultStrangers   = 64
	defaultPerCaller   = 128
	defaultCalls       = 100
	defaultUnread      = 4 << 20
	unreadWait         = 10 * time.Second
	strangersCalls     = 10
	strangersUnread    = 1 << 20
	strangersTime      = time.Minute
	addressesOfMany    = 8
	maxStreams         = 128      // of a connection
	maxHeaderBytes     = 16 << 10 // of a call's metadata
)

func (r *Room) fillDefaults() {
	r.Connections = orDefault(r.Connections, defaultConnections)
	r.Strangers = orDefault(r.Strangers, defaultStrangers)
	r.PerCaller = orDefault(r.PerCaller, defaultPerCaller)
	r.Calls = orDefault(r.Calls, defaultCalls)
	r.StrangersCalls = orDefault(r.StrangersCalls, strangersCalls)
	r.Unread = orDefault(r.Unread, defaultUnread)
	r.UnreadWait = orDefault(r.UnreadWait, unreadWait)
	r.StrangersUnread = orDefault(r.StrangersUnread, strangersUnread)
	r.StrangersTime = orDefault(r.StrangersTime, strangersTime)
}

// admission counts who holds what.
type admission struct {
	room Room

	mu          sync.Mutex
	connections map[*guest]struct{}
	strangers   map[string][]*guest // by address, oldest first
	strangersIn int
	callers     map[identity.Identity]int // connections
	calls       map[caller]int
	unread      map[caller]*unread
}

// caller is whose calls are counted: an identity, and an address where there is none.
type caller struct {
	who     identity.Identity
	address string
}

func newAdmission(room Room) *admission {
	room.fillDefaults()
	return &admission{room: room, connections: map[*guest]struct{}{},
		strangers: map[string][]*guest{}, callers: map[identity.Identity]int{},
		calls: map[caller]int{}, unread: map[caller]*unread{}}
}

// guest is a connection that was let in, until it is closed.
type guest struct {
	net.Conn
	a       *admission
	address string
	overdue *time.Timer // closes it while it is a stranger's
	// Guarded by the admission's mutex. Who is known without a certificate has no serial.
	known   bool
	who     identity.Identity
	serial  string
	revoked bool // when it was last looked at
}

// arrive lets a connection in as a stranger, or says why not.
func (a *admission) arrive(conn net.Conn) (*guest, error) {
	address := identity.Network(conn.RemoteAddr().String())
	a.mu.Lock()
	defer a.mu.Unlock()
	if same := len(a.strangers[address]); same >= a.room.Strangers {
		return nil, fmt.Errorf("%d connections of %s have shown no certificate", same, address)
	}
	if a.strangersIn >= a.room.Strangers*addressesOfMany {
		if crowd := a.mostCrowded(); crowd != address {
			oldest := a.strangers[crowd][0]
			a.forget(oldest)
			_ = oldest.Conn.Close()
		}
	}
	switch {
	case len(a.connections) >= a.room.Connections:
		return nil, fmt.Errorf("%d connections are open", len(a.connections))
	case a.strangersIn >= a.room.Strangers*addressesOfMany:
		return nil, fmt.Errorf("%d connections have shown no certificate", a.strangersIn)
	}
	g := &guest{Conn: conn, a: a, address: address, who: identity.Anonymous()}
	a.connections[g] = struct{}{}
	a.strangers[address] = append(a.strangers[address], g)
	a.strangersIn++
	g.overdue = time.AfterFunc(a.room.StrangersTime, func() { _ = g.Close() })
	return g, nil
}

// mostCrowded is the address with most strangers.
func (a *admission) mostCrowded() (address string) {
	for other, all := range a.strangers {
		if len(all) > len(a.strangers[address]) {
			address = other
		}
	}
	return address
}

// NetConn is the connection itself.
func (g *guest) NetConn() net.Conn { return g.Conn }

// introduce notes who the connection turned out to be, or says why there is no room for it.
func (g *guest) introduce(as identity.Peer) error {
	a, who := g.a, as.Identity
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, open := a.connections[g]; !open || who.Role == identity.RoleAnonymous {
		return nil
	}
	if a.callers[who] >= a.room.PerCaller {
		return fmt.Errorf("%s has %d connections", who, a.callers[who])
	}
	a.forgetStranger(g)
	g.overdue.Stop()
	a.callers[who]++
	g.known, g.who, g.serial = true, who, as.Serial()
	return nil
}

// forget gives the room of a connection back, once.
func (a *admission) forget(g *guest) {
	if _, open := a.connections[g]; !open {
		return
	}
	g.overdue.Stop()
	delete(a.connections, g)
	if g.known {
		less(a.callers, g.who)
	} else {
		a.forgetStranger(g)
	}
}

func (a *admission) forgetStranger(g *guest) {
	a.strangersIn--
	left := slices.DeleteFunc(a.strangers[g.address], func(o *guest) bool { return o == g })
	if len(left) == 0 {
		delete(a.strangers, g.address)
	} else {
		a.strangers[g.address] = left
	}
}

// Close closes the connection and gives its room back.
func (g *guest) Close() error {
	g.a.mu.Lock()
	g.a.forget(g)
	g.a.mu.Unlock()
	return g.Conn.Close()
}

// callerRoom is what a caller may hold besides connections.
type callerRoom struct{ calls, unread int }

func (a *admission) roomOf(from identity.Peer) (caller, callerRoom) {
	if from.Identity.Role == identity.RoleAnonymous {
		return caller{from.Identity, identity.Network(from.Address)},
			callerRoom{a.room.StrangersCalls, a.room.StrangersUnread}
	}
	return caller{who: from.Identity}, callerRoom{a.room.Calls, a.room.Unread}
}

// begin takes room for a call, until free is called.
func (a *admission) begin(from identity.Peer) (free func(), err error) {
	if from.Identity.Role == identity.RoleControlPlane {
		return func() {}, nil
	}
	who, room := a.roomOf(from)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.calls[who] >= room.calls {
		return nil, errs.New(errs.ResourceExhausted, errorsv1.Reason_REASON_UNSPECIFIED,
			fmt.Sprintf("%s has %d calls under way", from.Identity, a.calls[who]),
			errs.WithHint("end some of them, watches and waits among them, then retry"))
	}
	a.calls[who]++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		less(a.calls, who)
	}, nil
}

// cut closes the connections whose certificate was revoked already when it was called before, with
// all their calls: who revokes themselves hears that it is done. New calls are refused meanwhile.
func (a *admission) cut(revoked func(serial string) bool) (ended []identity.Identity) {
	a.mu.Lock()
	var doomed []*guest
	for g := range a.connections {
		if g.serial == "" || !revoked(g.serial) {
			continue
		}
		if g.revoked {
			doomed = append(doomed, g)
		}
		g.revoked = true
	}
	a.mu.Unlock()
	for _, g := range doomed {
		_ = g.Close()
		ended = append(ended, g.who)
	}
	return ended
}

// less takes one from a count, and leaves no zero behind.
func less[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}

// doors is a listener that lets in whom there is room for.
type doors struct {
	net.Listener
	a   *admission
	log *slog.Logger
}

// Accept implements net.Listener.
func (d doors) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g, full := d.a.arrive(conn)
		if full == nil {
			return g, nil
		}
		d.log.Debug("refused a connection", "peer", conn.RemoteAddr().String(), "error", full)
		_ = conn.Close()
	}
}
