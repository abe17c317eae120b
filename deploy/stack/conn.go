package stack

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Dial connects to the control plane as the operator.
func (s *Stack) Dial() (*grpc.ClientConn, error) {
	return s.dial(s.Address(), identity.ControlPlane())
}

// DialAgent connects to the agent of a server at its host's address, as the operator, who reads
// there, and changes something with a grant.
func (s *Stack) DialAgent(server, host string) (*grpc.ClientConn, error) {
	return s.dial(host+":7443", identity.Agent(server))
}

// Grant lets the operator make changing calls on the agent of a server, as long as a grant lasts.
// The agent knows it, and forgets it when it starts again, until the control plane has told it.
func (s *Stack) Grant(ctx context.Context, server string) error {
	conn, err := s.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	made, err := cpv1.NewEnrollmentServiceClient(conn).CreateAgentGrant(ctx,
		&cpv1.CreateAgentGrantRequest{Server: "servers/" + server, Reason: "a test",
			Duration: durationpb.New(8 * time.Hour)})
	if err == nil && !made.GetDelivered() {
		err = errors.New(made.GetUndeliveredReason())
	}
	return err
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
