package testport_test

import (
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/understudy-db/understudy/proto/testport"
)

// TestNoConnectionTakesAFreePort holds the ports against those of this machine's connections.
func TestNoConnectionTakesAFreePort(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Fatal(err)
	}
	var lowest, highest int
	if _, err := fmt.Sscan(string(text), &lowest, &highest); err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for range 50 {
		port, err := testport.Free()
		if err != nil {
			t.Fatal(err)
		}
		if port >= lowest && port <= highest {
			t.Errorf("%d can be that of a connection: %d to %d", port, lowest, highest)
		}
		if seen[port] {
			t.Errorf("%d is given again, and is in use", port)
		}
		seen[port] = true
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
}
