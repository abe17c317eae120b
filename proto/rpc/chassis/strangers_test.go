package chassis

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// conn is a connection from an address.
type conn struct {
	net.Conn
	from   string
	closed bool
}

func (c *conn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.from))
}

func (c *conn) Close() error {
	c.closed = true
	return nil
}

func TestACrowdedAddressMakesRoom(t *testing.T) {
	t.Parallel()
	a := newAdmission(Room{Strangers: 2, StrangersTime: time.Hour})
	arrive := func(from string) (*conn, error) {
		c := &conn{from: from}
		_, err := a.arrive(c)
		return c, err
	}
	var crowd []*conn
	for i := range 2 * addressesOfMany { // two each, of one IPv6 host
		from := []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.4:1", "192.0.2.5:1",
			"192.0.2.6:1", "192.0.2.7:1", "[2001:db8::1]:1"}[i%addressesOfMany]
		c, err := arrive(from)
		if err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, c)
	}
	for _, same := range []string{"192.0.2.1:9", "[2001:db8::ffff:2]:9"} {
		if _, err := arrive(same); err == nil {
			t.Errorf("a third of %s is let in", same)
		}
	}
	for _, c := range crowd {
		if c.closed {
			t.Errorf("%s made room for one that was refused", c.from)
		}
	}
	if _, err := arrive("192.0.2.99:1"); err != nil {
		t.Errorf("another address is refused: %v", err)
	}
	closed := 0
	for _, c := range crowd {
		if c.closed {
			closed++
		}
	}
	if closed == 0 {
		t.Error("nobody made room")
	}
}

func TestCallsOfStrangersAreCountedByAddress(t *testing.T) {
	t.Parallel()
	a := newAdmission(Room{StrangersCalls: 2})
	call := func(from string) error {
		_, err := a.begin(identity.Peer{Identity: identity.Anonymous(), Address: from})
		return err
	}
	for _, c := range []struct {
		from    string
		refused bool
	}{{"192.0.2.1:1", false}, {"192.0.2.1:2", false}, {"192.0.2.1:3", true},
		{"192.0.2.2:1", false}, {"[2001:db8::1]:1", false}, {"[2001:db8::2]:1", false},
		{"[2001:db8::3]:1", true}, {"[2001:db8:1::3]:1", false}} {
		if err := call(c.from); (err != nil) != c.refused {
			t.Errorf("%s: %v", c.from, err)
		}
	}
}

// TestBreakGlassIsNoStranger has no certificate, and is known all the same.
func TestBreakGlassIsNoStranger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(Room{Strangers: 1})
		meet := func(who identity.Identity) *conn {
			c := &conn{from: "192.0.2.1:1"}
			g, err := a.arrive(c)
			if err == nil {
				err = g.introduce(identity.Peer{Identity: who})
			}
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		root, stranger := meet(identity.BreakGlass(0)), meet(identity.Anonymous())
		time.Sleep(2 * a.room.StrangersTime)
		synctest.Wait()
		if root.closed || !stranger.closed {
			t.Errorf("root's connection is closed: %t, a stranger's: %t", root.closed,
				stranger.closed)
		}
		for g := range a.connections {
			_ = g.Close()
		}
		if !root.closed || len(a.connections)+len(a.callers)+a.strangersIn > 0 {
			t.Errorf("what is left: %d, %v, %d", len(a.connections), a.callers, a.strangersIn)
		}
	})
}

func TestAStrangerEnds(t *testing.T) {
	t.Parallel()
	a := newAdmission(Room{StrangersTime: time.Millisecond})
	near, far := net.Pipe()
	if _, err := a.arrive(near); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Read(make([]byte, 1)); err == nil {
		t.Error("it said something")
	}
	for {
		a.mu.Lock()
		left := len(a.connections) + a.strangersIn + len(a.strangers)
		a.mu.Unlock()
		if left == 0 {
			break
		}
	}
}
