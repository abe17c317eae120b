package identity

import (
	"context"
	"crypto/x509"
	"net/netip"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// Peer is the other end of a call.
type Peer struct {
	// Identity is who it proved to be; Anonymous when it showed no certificate.
	Identity Identity
	// Certificate is what it proved it with; nil when anonymous.
	Certificate *x509.Certificate
	// Address is where it called from: host and port, or a process of this machine.
	Address string
}

// Serial is the serial of the peer's certificate, or "".
func (p Peer) Serial() string {
	if p.Certificate == nil {
		return ""
	}
	return Serial(p.Certificate)
}

// PeerOf is the peer of a call that a server handles.
func PeerOf(ctx context.Context) Peer {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return Peer{Identity: Anonymous()}
	}
	return PeerFrom(from)
}

// PeerFrom is the peer as gRPC has it. One that came neither over verified TLS nor over a socket
// whose users are checked, and one whose certificate carries no identity, is anonymous.
func PeerFrom(from *peer.Peer) Peer {
	p := Peer{Identity: Anonymous()}
	if from.Addr != nil {
		p.Address = from.Addr.String()
	}
	// The handshake asked the kernel: see local.ServerHandshake.
	if info, ok := from.AuthInfo.(localInfo); ok {
		return info.peer()
	}
	// The handshake verified the certificates: see ServerConfig.verify.
	info, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return p
	}
	leaf := info.State.PeerCertificates[0]
	if id, err := FromCertificate(leaf); err == nil {
		p.Identity, p.Certificate = id, leaf
	}
	return p
}

// Network is whose an address is, host and port: an IPv4 address, or the /64 of IPv6 that one host
// has. All that is no IP address is one.
func Network(address string) string {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return ""
	}
	ip := at.Addr().Unmap()
	if ip.Is4() {
		return ip.String()
	}
	prefix, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return ip.String()
	}
	return prefix.String()
}
