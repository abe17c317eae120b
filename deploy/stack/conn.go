package stack

import (
	"fmt"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// Dial connects to the control plane as the operator.
func (s *Stack) Dial() (*grpc.ClientConn, error) {
	return s.dial(s.Address(), identity.ControlPlane())
}

// DialAgent connects to the agent of a server at its host's address, as the operator.
func (s *Stack) DialAgent(server, host string) (*grpc.ClientConn, error) {
	return s.dial(host+":7443", identity.Agent(server))
}

func (s *Stack) dial(address string, expect identity.Identity) (*grpc.ClientConn, error) {
	source, err := identity.NewFiles(identity.FilesConfig{
		CA:   filepath.Join(s.Credentials(), "ca.pem"),
		Cert: filepath.Join(s.Credentials(), "cert.pem"),
		Key:  filepath.Join(s.Credentials(), "key.pem"),
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the operator's credentials: %w", err)
	}
	config, err := identity.ClientTLS(identity.ClientConfig{Source: source, Expect: expect})
	if err != nil {
		return nil, err
	}
	return grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
}
