package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// api is the control plane as the commands see it.
type api struct {
	cpv1.ServerServiceClient
	cpv1.SnapshotServiceClient
	cpv1.JobServiceClient
	cpv1.ProviderServiceClient
	cpv1.EnrollmentServiceClient
	cpv1.ControlPlaneServiceClient
	cpv1.AuditServiceClient
}

// rpc is a method of the control plane, such as (*api).GetServer.
type rpc[Q, P proto.Message] func(*api, context.Context, Q, ...grpc.CallOption) (P, error)

// connect prepares the connection that the flags describe; the first call makes it.
func (c *cli) connect() (*grpc.ClientConn, error) {
	if err := c.resolve(); err != nil {
		return nil, err
	}
	if c.flags.local {
		return chassis.DialLocal(strings.TrimPrefix(c.flags.address, socketScheme),
			c.flags.timeout.value)
	}
	if err := c.checkAddress(); err != nil {
		return nil, err
	}
	if err := mustBePrivate(c.credentialFiles().Key); err != nil &&
		!errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	source, err := identity.NewFiles(c.credentialFiles())
	if err != nil {
		return nil, usageError{
			message: fmt.Sprintf("cannot use the operator's credentials in %s: %v",
				c.flags.credentials, err),
			hint: "make credentials on the control plane's host with `understudy operator " +
				"create NAME --out FILE`, and add them here with `understudy context add`; or " +
				"log in with an account: `understudy login --help`",
		}
	}
	conn, err := chassis.Dial(chassis.DialConfig{
		Address: c.flags.address, Deadline: c.flags.timeout.value, MaxMessageBytes: 64 << 20,
		TLS: identity.ClientConfig{Source: source, Expect: identity.ControlPlane()},
	})
	if err != nil {
		return nil, usageError{message: err.Error()}
	}
	return conn, nil
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
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	var to grpc.ClientConnInterface = conn
	if c.Tap != nil {
		to = c.Tap(conn)
	}
	a := &api{cpv1.NewServerServiceClient(to), cpv1.NewSnapshotServiceClient(to),
		cpv1.NewJobServiceClient(prefixConn{to}), cpv1.NewProviderServiceClient(to),
		cpv1.NewEnrollmentServiceClient(to), cpv1.NewControlPlaneServiceClient(to),
		cpv1.NewAuditServiceClient(to)}
	if c.flags.local {
		return use(ctx, a)
	}
	if err := revive(ctx, c); err != nil {
		return err
	}
	keepFresh(ctx, c, a)
	return clocks(ctx, c, use(ctx, a))
}
