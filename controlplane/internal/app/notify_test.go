package app_test

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

// The unit is of Type=notify: systemd is told when calls are answered, and when the end has begun.
func TestSystemdIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	p := newPlane(t)
	hears := func(want string) {
		t.Helper()
		if err := told.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 256)
		if n, err := told.Read(buffer); err != nil || string(buffer[:n]) != want {
			t.Fatalf("%q, %v; want %q", buffer[:n], err, want)
		}
	}
	hears("READY=1")
	p.addServer("db1", "")
	p.Stop()
	hears("STOPPING=1")
}
