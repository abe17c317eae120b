// Package testport finds ports for the servers of tests and labs.
package testport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
)

// The ports lie below those that Linux gives outgoing connections (32768 and above, see
// ip_local_port_range in ip(7)): one of these could be taken by any connection of the machine
// before its server binds it, and again whenever that server restarts.
const (
	lowest  = 20000
	highest = 32000
)

// Free is a port at which nothing on this machine listens, on any IPv4 address.
func Free() (int, error) {
	for range 100 {
		port := lowest + rand.IntN(highest-lowest)
		l, err := net.Listen("tcp4", fmt.Sprintf(":%d", port))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return 0, err
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("no port from %d to %d is free", lowest, highest)
}
