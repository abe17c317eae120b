//go:build lab

package agent_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab"
)

const mariadbSocket = "/run/mysqld/mysqld.sock"

// said is what an impostor answers to a statement: rows of two columns, an error, or the request
// for a file.
type said struct {
	rows        [][2]string
	err, demand string
}

// impostor answers at MariaDB's socket, as somebody who runs as its user can.
type impostor struct {
	answer      func(statement string) said
	certificate tls.Certificate
	mu          sync.Mutex
	files       []byte // of clients
	asked       []string
}

// beMariaDB listens in the place of MariaDB, which is stopped for the test.
func beMariaDB(t *testing.T, answer func(statement string) said) *impostor {
	t.Helper()
	lab.Run(t, "systemctl", "stop", "mariadb.service", "mariadb.socket", "mariadb-extra.socket")
	lab.Run(t, "install", "-d", "-o", "mysql", "-g", "root", "-m", "0755",
		filepath.Dir(mariadbSocket))
	_ = os.Remove(mariadbSocket)
	listener, err := net.Listen("unix", mariadbSocket)
	if err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "chown", "mysql:mysql", mariadbSocket)
	lab.Run(t, "chmod", "0777", mariadbSocket)
	i := &impostor{answer: answer, certificate: selfSigned(t)}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer conn.Close(); i.serve(conn) })
			t.Cleanup(func() { conn.Close() })
		}
	})
	t.Cleanup(func() { listener.Close() })
	return i
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{certificate}, PrivateKey: key}
}

// got is what clients have sent of their files, and the statements that they sent.
func (i *impostor) got() (files, asked string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return string(i.files), strings.Join(i.asked, "\n")
}

func (i *impostor) serve(conn net.Conn) {
	p := &packets{conn: conn}
	greeting := append([]byte("\x0a11.8.9-MariaDB\x00\x01\x00\x00\x00abcdefgh\x00\x80\xaa"+
		"\x21\x02\x00\x08\x00\x15"), make([]byte, 10)...)
	p.send(append(greeting, "abcdefghijkl\x00mysql_native_password\x00"...))
	hello, err := p.receive()
	if err == nil && len(hello) == 32 { // it asks for TLS, as a client of 11.8 does
		p.conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{i.certificate}})
		_, err = p.receive()
	}
	if err != nil {
		return
	}
	p.ok()
	prepared := ""
	for {
		p.number = 0
		command, err := p.receive()
		if err != nil || len(command) == 0 {
			return
		}
		switch command[0] {
		case 3: // a statement as text
			i.say(p, string(command[1:]), false)
		case 22: // one to prepare
			prepared = string(command[1:])
			marks := strings.Count(prepared, "?")
			p.send([]byte{0, 1, 0, 0, 0, 2, 0, byte(marks), 0, 0, 0, 0})
			p.columns(marks)
			p.columns(2)
		case 23: // which runs
			i.say(p, prepared, true)
		case 25: // and is closed, without an answer
		case 1:
			return
		default:
			p.ok()
		}
	}
}

func (i *impostor) say(p *packets, statement string, isBinary bool) {
	i.mu.Lock()
	i.asked = append(i.asked, statement)
	i.mu.Unlock()
	s := i.answer(statement)
	words := strings.Fields(strings.ToUpper(statement + " "))
	switch {
	case s.err != "":
		p.send(append([]byte("\xff\xd2\x04#HY000"), s.err...))
	case s.demand != "":
		p.send(append([]byte{0xfb}, s.demand...))
		for {
			part, err := p.receive()
			if err != nil || len(part) == 0 {
				break
			}
			i.mu.Lock()
			i.files = append(i.files, part...)
			i.mu.Unlock()
		}
		p.ok()
	case s.rows == nil && (len(words) == 0 || words[0] != "SELECT" && words[0] != "SHOW"):
		p.ok()
	default:
		p.send([]byte{2})
		p.columns(2)
		for _, row := range s.rows {
			var packet []byte
			if isBinary {
				packet = []byte{0, 0}
			}
			for _, value := range row {
				packet = append(append(packet, byte(len(value))), value...)
			}
			p.send(packet)
		}
		p.eof()
	}
}

// packets are MariaDB's protocol on a connection.
type packets struct {
	conn   net.Conn
	number byte
}

func (p *packets) receive() ([]byte, error) {
	header := make([]byte, 4)
	if _, err := io.ReadFull(p.conn, header); err != nil {
		return nil, err
	}
	p.number = header[3] + 1
	body := make([]byte, binary.LittleEndian.Uint32(append(header[:3:3], 0)))
	_, err := io.ReadFull(p.conn, body)
	return body, err
}

func (p *packets) send(body []byte) {
	header := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	header[3] = p.number
	p.number++
	if _, err := p.conn.Write(append(header, body...)); errors.Is(err, net.ErrClosed) {
		return
	}
}

func (p *packets) ok()  { p.send([]byte{0, 0, 0, 2, 0, 0, 0}) }
func (p *packets) eof() { p.send([]byte{0xfe, 0, 0, 2, 0}) }

// columns are definitions of columns of text.
func (p *packets) columns(n int) {
	for i := range n {
		name := [...]string{"Variable_name", "Value"}[i%2]
		p.send([]byte("\x03def\x00\x00\x00" + string(rune(len(name))) + name +
			"\x00\x0c\x21\x00\x00\x01\x00\x00\xfd\x00\x00\x00\x00\x00"))
	}
	if n > 0 {
		p.eof()
	}
}
