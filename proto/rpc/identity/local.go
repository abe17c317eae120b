package identity

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
)

// BreakGlass is the identity of a local user who called over a server's own socket. No certificate
// carries it.
func BreakGlass(uid uint32) Identity {
	if uid == 0 {
		return Identity{Role: RoleBreakGlass, Name: "root"}
	}
	return Identity{Role: RoleBreakGlass, Name: "uid-" + strconv.FormatUint(uint64(uid), 10)}
}

// localInfo is who the kernel says is at the other end of a unix socket.
type localInfo struct {
	credentials.CommonAuthInfo
	uid uint32
	pid int32
}

// AuthType names how the peer was proved.
func (localInfo) AuthType() string { return "unix" }

// peer is the caller, with the process in place of an address.
func (l localInfo) peer() Peer {
	return Peer{Identity: BreakGlass(l.uid), Address: fmt.Sprintf("pid %d", l.pid)}
}

// Local are the credentials of a server on a unix socket: each connection is asked of the kernel,
// and only those users get in. They prove nothing of a server to its client.
func Local(users ...uint32) credentials.TransportCredentials { return local{users} }

type local struct{ users []uint32 }

// ServerHandshake lets the connection in, or says why not. Nothing is sent or received.
func (l local) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	info, err := peerOfSocket(conn)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot find out who calls: %w", err)
	}
	if !slices.Contains(l.users, info.uid) {
		return nil, nil, fmt.Errorf("uid %d (pid %d) may not use this socket", info.uid, info.pid)
	}
	return conn, info, nil
}

// peerOfSocket asks the kernel, which noted it when the peer connected.
func peerOfSocket(conn net.Conn) (localInfo, error) {
	for {
		within, wrapped := conn.(interface{ NetConn() net.Conn })
		if !wrapped {
			break
		}
		conn = within.NetConn()
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return localInfo{}, errors.New("no unix socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return localInfo{}, err
	}
	var found *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		found, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || failed != nil {
		return localInfo{}, errors.Join(err, failed)
	}
	return localInfo{uid: found.Uid, pid: found.Pid, CommonAuthInfo: credentials.CommonAuthInfo{
		SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

// ClientHandshake is for servers alone.
func (l local) ClientHandshake(context.Context, string, net.Conn) (net.Conn,
	credentials.AuthInfo, error) {
	return nil, nil, errors.New("these are the credentials of a server")
}

// Info names the protocol.
func (local) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix"}
}

// Clone is the same: nothing in it changes.
func (l local) Clone() credentials.TransportCredentials { return l }

// OverrideServerName does nothing.
func (local) OverrideServerName(string) error { return nil }
