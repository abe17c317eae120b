package mariadb_test

import (
	"bytes"
	"database/sql"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

// TestAnAnswerWithoutEnd: somebody who runs as MariaDB's user listens on its socket, and sends one
// packet that goes on for ever.
func TestAnAnswerWithoutEnd(t *testing.T) {
	t.Parallel()
	const most = 300 << 20
	sent := make(chan int, 1)
	db := impostor(t, func(conn net.Conn) {
		part, total := make([]byte, 4+1<<24-1), 0
		copy(part, []byte{0xff, 0xff, 0xff})
		for total < most {
			n, err := conn.Write(part)
			if total += n; err != nil {
				break
			}
			part[3]++
		}
		sent <- total
	})
	if err := db.PingContext(t.Context()); err == nil {
		t.Error("it is taken for MariaDB")
	}
	if total := <-sent; total >= most {
		t.Errorf("%d MiB were read", total>>20)
	}
}

// TestMariaDBAsksForAFile: a server may answer a query by asking its client for a file, which the
// agent could read as root.
func TestMariaDBAsksForAFile(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("the agent's key"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte, 1)
	db := impostor(t, func(conn net.Conn) {
		greeting := append([]byte("\x0a11.8.0-MariaDB\x00\x01\x00\x00\x00abcdefgh\x00\x80\xa2"+
			"\x21\x02\x00\x08\x00\x15"), make([]byte, 10)...)
		greeting = append(greeting, "abcdefghijkl\x00mysql_native_password\x00"...)
		_, _ = conn.Write(packet(0, greeting))
		_, _ = conn.Read(make([]byte, 1<<16))
		_, _ = conn.Write(packet(2, []byte("\x00\x00\x00\x02\x00\x00\x00")))
		_, _ = conn.Read(make([]byte, 1<<16))
		_, _ = conn.Write(packet(1, append([]byte{0xfb}, secret...)))
		answer := make([]byte, 1<<16)
		n, _ := conn.Read(answer)
		got <- answer[:n]
	})
	_, err := db.ExecContext(t.Context(), "SELECT 1")
	if err == nil || !strings.Contains(err.Error(), "is not registered") {
		t.Errorf("not refused as a file, but %v", err)
	}
	if answer := <-got; bytes.Contains(answer, []byte("the agent's key")) {
		t.Errorf("the agent sent the file: %q", answer)
	}
}

func packet(number byte, content []byte) []byte {
	return append([]byte{byte(len(content)), 0, 0, number}, content...)
}

// impostor listens in MariaDB's place, for one connection.
func impostor(t *testing.T, speaks func(net.Conn)) *sql.DB {
	t.Helper()
	dir, err := os.MkdirTemp("", "impostor") //nolint:usetesting // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_ = listener.Close() // whoever tries again finds nobody
		speaks(conn)
		_ = conn.Close()
	}()
	connector, err := mariadb.Connector(socket)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() {
		_ = db.Close()
		_ = listener.Close()
		<-ended
	})
	return db
}
