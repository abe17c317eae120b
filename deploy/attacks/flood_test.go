//go:build lab

package attacks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/understudy-db/understudy/deploy/stack"
)

// mostGrowth is what a flood may cost a control plane in memory: it is 35 MiB large without.
const mostGrowth = 64 << 20

// plane starts a control plane that has nothing to do.
func plane(t *testing.T) *stack.Stack {
	t.Helper()
	s, err := stack.New(stack.Config{Bin: "../../bin", Dir: filepath.Join(t.TempDir(), "state"),
		Name: fmt.Sprintf("atk%d", os.Getpid()%100000), Provider: "manual"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// grows is by how much the control plane's memory grew at most while the attack went on. Others are
// served meanwhile.
func grows(t *testing.T, s *stack.Stack, attack func()) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/", s.PID())
	if err := os.WriteFile(dir+"clear_refs", []byte("5"), 0o600); err != nil { // the peak is now's
		t.Fatal(err)
	}
	before := residentPeak(t, dir)
	done := make(chan struct{})
	go func() {
		defer close(done)
		attack()
	}()
	calls := 0
	for going := true; going; {
		select {
		case <-done:
			going = false
		default:
		}
		if out, err := s.CLI(t.Context(), "server", "list").CombinedOutput(); err != nil {
			t.Errorf("an operator is not served: %v: %s", err, out)
			<-done
			return
		}
		calls++
	}
	grown := residentPeak(t, dir) - before
	t.Logf("%d MiB before, %d MiB more at most, %d calls of an operator answered", before>>20,
		grown>>20, calls)
	if grown > mostGrowth {
		t.Errorf("the control plane grew by %d MiB", grown>>20)
	}
}

func residentPeak(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(dir + "status")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	kib, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// attacker speaks HTTP/2 by hand.
type attacker struct {
	conn   net.Conn
	framer *http2.Framer
	stream uint32
	block  bytes.Buffer
	coder  *hpack.Encoder
}

// dial connects from an address that nobody else has.
func dial(s *stack.Stack) (net.Conn, error) {
	elsewhere := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}}
	return elsewhere.Dial("tcp", s.Address())
}

// connect is refused where there is no room; certificate may be nil. What is answered does not
// count.
func connect(s *stack.Stack, certificate *tls.Certificate) (*attacker, error) {
	a, err := deafly(s, certificate)
	if err == nil {
		go func() { _, _ = io.Copy(io.Discard, a.conn) }()
	}
	return a, err
}

// deafly connects, and reads nothing.
func deafly(s *stack.Stack, certificate *tls.Certificate) (*attacker, error) {
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	plain, err := dial(s)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, config)
	if err := conn.Handshake(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	a := &attacker{conn: conn, framer: http2.NewFramer(conn, conn), stream: 1}
	a.coder = hpack.NewEncoder(&a.block)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := a.framer.WriteSettings(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return a, nil
}

// open begins a call whose request does not end, with so much metadata.
func (a *attacker) open(method string, metadata int) (uint32, error) {
	a.block.Reset()
	fields := [][2]string{{":method", "POST"}, {":scheme", "https"}, {":path", method},
		{":authority", "x"}, {"content-type", "application/grpc"}, {"te", "trailers"}}
	if metadata > 0 {
		fields = append(fields, [2]string{"x-large", strings.Repeat("m", metadata)})
	}
	for _, f := range fields {
		if err := a.coder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1],
			Sensitive: f[0] == "x-large"}); err != nil {
			return 0, err
		}
	}
	stream := a.stream
	a.stream += 2
	const frame = 16 << 10
	block := a.block.Bytes()
	first := block[:min(len(block), frame)]
	block = block[len(first):]
	err := a.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first,
		EndHeaders: len(block) == 0})
	for len(block) > 0 && err == nil {
		part := block[:min(len(block), frame)]
		block = block[len(part):]
		err = a.framer.WriteContinuation(stream, len(block) == 0, part)
	}
	return stream, err
}

// flood opens connection after connection, and does each with it until it is cut, so many times in
// all.
func flood(s *stack.Stack, certificate *tls.Certificate, times int, each func(*attacker) error) {
	var open []*attacker
	defer func() {
		for _, a := range open {
			_ = a.conn.Close()
		}
	}()
	for done := 0; done < times; done++ {
		a, err := connect(s, certificate)
		if err != nil {
			continue
		}
		open = append(open, a)
		for ; done < times && err == nil; done++ {
			err = each(a)
		}
	}
}
