package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// api is the control plane as the commands see it.
type api struct {
	conn       *grpc.ClientConn
	servers    cpv1.ServerServiceClient
	snapshots  cpv1.SnapshotServiceClient
	jobs       cpv1.JobServiceClient
	providers  cpv1.ProviderServiceClient
	enrollment cpv1.EnrollmentServiceClient
}

// connect prepares the connection that the flags describe; the first call makes it.
func (c *cli) connect() (*api, error) {
	if err := c.checkAddress(); err != nil {
		return nil, err
	}
	source, err := identity.NewFiles(c.credentialFiles())
	if err != nil {
		return nil, usageError{
			message: fmt.Sprintf("cannot use the operator's credentials in %s: %v",
				c.flags.credentials, err),
			hint: "copy ca.pem, cert.pem and key.pem from operator/ in the control plane's " +
				"state directory, and name their folder with --credentials",
		}
	}
	conn, err := chassis.Dial(chassis.DialConfig{
		Address: c.flags.address, Deadline: c.flags.timeout.value, MaxMessageBytes: 64 << 20,
		TLS: identity.ClientConfig{Source: source, Expect: identity.ControlPlane()},
	})
	if err != nil {
		return nil, usageError{message: err.Error()}
	}
	return &api{conn: conn, servers: cpv1.NewServerServiceClient(conn),
		snapshots:  cpv1.NewSnapshotServiceClient(conn),
		jobs:       cpv1.NewJobServiceClient(prefixConn{conn}),
		providers:  cpv1.NewProviderServiceClient(conn),
		enrollment: cpv1.NewEnrollmentServiceClient(conn)}, nil
}

func (c *cli) checkAddress() error {
	host, port, err := net.SplitHostPort(c.flags.address)
	if err == nil && host != "" && port != "" {
		return nil
	}
	return usageError{
		message: "--address " + quote(c.flags.address) + " must be HOST:PORT, such as " +
			defaultAddress,
	}
}

func (c *cli) credentialFiles() identity.FilesConfig {
	in := func(name string) string { return filepath.Join(c.flags.credentials, name) }
	return identity.FilesConfig{CA: in("ca.pem"), Cert: in("cert.pem"), Key: in("key.pem"),
		Logger: slog.New(slog.DiscardHandler)}
}

// call connects, lets use talk to the control plane, and closes the connection.
func (c *cli) call(ctx context.Context, use func(context.Context, *api) error) error {
	a, err := c.connect()
	if err != nil {
		return err
	}
	defer a.conn.Close()
	return use(ctx, a)
}
