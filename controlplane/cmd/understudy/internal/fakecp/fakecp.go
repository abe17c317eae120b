// Package fakecp is a control plane that does nothing, for tests of the command line: the real
// contract over real mutual TLS on loopback, records that never change, and jobs that go along a
// script.
package fakecp

import (
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Config says where a fake keeps things, and how fast its jobs go.
type Config struct {
	// Dir gets the operator's credentials, ca.pem, cert.pem and key.pem.
	Dir string
	// Log is a file that gets one line for each request; no such file when empty.
	Log string
	// Pace is the time between two changes of a job; none when 0.
	Pace time.Duration
	// Away is how long it is away when a script restarts it; not at all when 0.
	Away time.Duration
	// Address is where it listens; a free port of loopback when empty.
	Address string
	// Expired gives the operator a certificate that has expired.
	Expired bool
}

// Server is a fake control plane.
type Server struct {
	cpv1.UnimplementedServerServiceServer
	cpv1.UnimplementedSnapshotServiceServer
	cpv1.UnimplementedJobServiceServer
	cpv1.UnimplementedProviderServiceServer
	cpv1.UnimplementedEnrollmentServiceServer
	cpv1.UnimplementedControlPlaneServiceServer

	config  Config
	ca      *identitytest.CA
	tls     credentials.TransportCredentials
	address string
	scene   *scene

	asked   atomic.Int64 // how often a list was asked for that is another one each time
	mu      sync.Mutex
	grpc    *grpc.Server
	stopped bool
	runs    map[string]*run
	serving sync.WaitGroup
}

// Start starts a fake, which ends with the test.
func Start(t testing.TB, config Config) *Server {
	t.Helper()
	ca := identitytest.New(t)
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ca.WriteFiles(config.Dir, ca.Issue(identity.Operator("alice"), func(c *x509.Certificate) {
		if config.Expired {
			c.NotAfter = time.Now().Add(-time.Second)
		}
	}))
	tlsConfig, err := identity.ServerTLS(
		identity.ServerConfig{Source: ca.Source(identity.ControlPlane())})
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{config: config, ca: ca, tls: credentials.NewTLS(tlsConfig),
		address: config.Address, scene: newScene(), runs: map[string]*run{}}
	if s.address == "" {
		s.address = "127.0.0.1:0"
	}
	if err := s.serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Address is where it serves, "127.0.0.1:PORT".
func (s *Server) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.address
}

func (s *Server) serve() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	s.address = listener.Addr().String()
	s.grpc = grpc.NewServer(grpc.Creds(s.tls), grpc.UnaryInterceptor(s.logUnary),
		grpc.StreamInterceptor(s.logStream))
	cpv1.RegisterServerServiceServer(s.grpc, s)
	cpv1.RegisterSnapshotServiceServer(s.grpc, s)
	cpv1.RegisterJobServiceServer(s.grpc, s)
	cpv1.RegisterProviderServiceServer(s.grpc, s)
	cpv1.RegisterEnrollmentServiceServer(s.grpc, s)
	cpv1.RegisterControlPlaneServiceServer(s.grpc, s)
	s.serving.Go(func() { _ = s.grpc.Serve(listener) })
	return nil
}

// Stop ends it for good.
func (s *Server) Stop() {
	s.mu.Lock()
	s.stopped = true
	server := s.grpc
	s.mu.Unlock()
	server.Stop()
	s.serving.Wait()
}

// restart ends all calls, stays away for a while, and serves again at the same address when it is
// to come back.
func (s *Server) restart(back bool) {
	s.mu.Lock()
	server := s.grpc
	s.mu.Unlock()
	s.serving.Go(func() {
		server.GracefulStop()
		if back {
			time.AfterFunc(s.config.Away, func() { _ = s.serve() })
		}
	})
}

// Kill cuts all connections off in the middle of what they carry.
func (s *Server) Kill() {
	s.mu.Lock()
	server := s.grpc
	s.mu.Unlock()
	server.Stop()
}

// Back serves again after Kill, at the same address.
func (s *Server) Back() error { return s.serve() }

// Unhang lets a job go on that its script left hanging, the next time that somebody watches it.
func (s *Server) Unhang(job string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.runs[job]; r != nil {
		r.unhang()
	}
}
