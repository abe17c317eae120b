package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
)

// listeners accepts on several addresses as if on one.
type listeners struct {
	all      []net.Listener
	accepted chan net.Conn
	closed   chan struct{}
	close    sync.Once
}

// listen opens all addresses, or none.
func listen(ctx context.Context, addresses []string, log *slog.Logger) (*listeners, error) {
	l := &listeners{accepted: make(chan net.Conn), closed: make(chan struct{})}
	for _, address := range addresses {
		one, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cannot serve: %w", err), l.Close())
		}
		l.all = append(l.all, chassis.Lasting(one, log))
	}
	for _, one := range l.all {
		go l.accept(one)
	}
	return l, nil
}

func (l *listeners) accept(one net.Listener) {
	for {
		conn, err := one.Accept()
		if err != nil {
			return // closed
		}
		select {
		case l.accepted <- conn:
		case <-l.closed:
			conn.Close()
		}
	}
}

// Accept waits for the next connection on any of the addresses.
func (l *listeners) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accepted:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close stops listening everywhere. Closing twice is fine.
func (l *listeners) Close() error {
	var faults []error
	l.close.Do(func() {
		close(l.closed)
		for _, one := range l.all {
			faults = append(faults, one.Close())
		}
	})
	return errors.Join(faults...)
}

// Addr is the first address.
func (l *listeners) Addr() net.Addr { return l.all[0].Addr() }

// withProvider adds the provider's own network to the addresses to listen on, with the port of the
// first, unless one of them is for all networks already. Ports that the system is to choose cannot
// be shared, so they are not.
func withProvider(addresses []string, host string) []string {
	_, port, err := net.SplitHostPort(addresses[0])
	if err != nil || host == "" || port == "0" {
		return addresses
	}
	added := net.JoinHostPort(host, port)
	for _, address := range addresses {
		own, ownPort, err := net.SplitHostPort(address)
		if err == nil && ownPort == port && wildcard(own) {
			return addresses
		}
	}
	if slices.Contains(addresses, added) {
		return addresses
	}
	return append(slices.Clone(addresses), added)
}

func wildcard(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// reachable are the addresses under which machines can reach what listens there: the provider's
// network first, no loopback.
func reachable(addresses []string, host string) []string {
	var all []string
	_, port, err := net.SplitHostPort(addresses[0])
	if err == nil && host != "" && port != "0" {
		all = append(all, net.JoinHostPort(host, port))
	}
	for _, address := range addresses {
		own, _, err := net.SplitHostPort(address)
		ip := net.ParseIP(own)
		if err == nil && !wildcard(own) && (ip == nil || !ip.IsLoopback()) && own != "localhost" &&
			!slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all
}
