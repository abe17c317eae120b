package identity_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/peer"

	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// accepted is a connection of this process, as its server has it.
func accepted(t *testing.T, network, address string) net.Conn {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial(network, listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}

// wrapped hides that it is a socket, as what counts connections does.
type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

func TestTheKernelSaysWhoCalls(t *testing.T) {
	t.Parallel()
	self := uint32(os.Geteuid())
	for _, users := range [][]uint32{{self}, {self + 1, self}} {
		conn := accepted(t, "unix", filepath.Join(t.TempDir(), "s"))
		_, info, err := identity.Local(users...).ServerHandshake(wrapped{wrapped{conn}})
		if err != nil {
			t.Fatal(err)
		}
		got := identity.PeerFrom(&peer.Peer{AuthInfo: info, Addr: conn.RemoteAddr()})
		if got.Identity != identity.BreakGlass(self) || got.Certificate != nil ||
			got.Address != "pid "+strconv.Itoa(os.Getpid()) {
			t.Errorf("the peer is %+v", got)
		}
	}
}

func TestOtherUsersAreKeptOut(t *testing.T) {
	t.Parallel()
	self := uint32(os.Geteuid())
	local := accepted(t, "unix", filepath.Join(t.TempDir(), "s"))
	refused := map[string]net.Conn{"may not use this socket": local,
		"no unix socket": accepted(t, "tcp", "127.0.0.1:0")}
	for want, conn := range refused {
		_, info, err := identity.Local(self + 1).ServerHandshake(conn)
		if err == nil || info != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, _, err := identity.Local().ServerHandshake(local); err == nil {
		t.Error("a socket for nobody let somebody in")
	}
}

func TestBreakGlassHasNoCertificate(t *testing.T) {
	t.Parallel()
	for uid, want := range map[uint32]string{0: "root", 990: "uid-990"} {
		who := identity.BreakGlass(uid)
		if who.Name != want || who.Check() == nil {
			t.Errorf("%v", who)
		}
		if got, err := identity.Parse(who.String()); err == nil {
			t.Errorf("%s passed as %v", who, got)
		}
	}
}
