package agentpool

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// How long a call may take when its request does not say. Each is more than the agent itself
// allows, so that the agent's own error, which knows more, comes first.
const (
	// lookLimit leaves time to learn that the host is gone, as without power: that is waited for,
	// and an agent that hangs is a failure.
	lookLimit   = chassis.DeadAfter + answerGrace
	changeLimit = 2 * time.Minute
	// what goes over all files or blocks of a volume: a check, a change of owner
	fileLimit      = time.Hour
	dataLimit      = 24 * time.Hour
	inventoryLimit = time.Hour
	answerGrace    = 15 * time.Second
	// The agent's own defaults.
	unitDefault   = 90 * time.Second
	deviceDefault = time.Minute
	replDefault   = time.Minute
	upgradeLimit  = time.Hour
)

// agent is one server's agent over its connection.
type agent struct {
	signIn
	volumes
	server  string
	host    agentv1.HostServiceClient
	systemd agentv1.SystemdServiceClient
	mounts  agentv1.MountServiceClient
	mariadb agentv1.MariaDBServiceClient
	observe agentv1.ObservationServiceClient
}

var _ kit.Agent = (*agent)(nil)

func newAgent(server string, conn grpc.ClientConnInterface) *agent {
	a := &agent{
		server: server, host: agentv1.NewHostServiceClient(conn),
		systemd: agentv1.NewSystemdServiceClient(conn),
		mounts:  agentv1.NewMountServiceClient(conn),
		mariadb: agentv1.NewMariaDBServiceClient(conn),
		observe: agentv1.NewObservationServiceClient(conn),
	}
	a.signIn, a.volumes = signIn{a}, volumes{a}
	return a
}

// call makes one call with an end of its own.
func call[Req, Resp any](ctx context.Context, a *agent, limit time.Duration,
	do func(context.Context, Req, ...grpc.CallOption) (Resp, error), req Req) (Resp, error) {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, err := do(bounded, req)
	return resp, lost(ctx, a.server, err)
}

// orDefault is the agent's own limit where the request leaves it to the agent.
func orDefault(d, fallback time.Duration) time.Duration {
	if d <= 0 {
		return fallback
	}
	return d
}

// Host returns identity and versions of the host.
func (a *agent) Host(ctx context.Context) (kit.HostInfo, error) {
	resp, err := call(ctx, a, lookLimit, a.host.GetHost, &agentv1.GetHostRequest{})
	return hostInfo(resp), err
}
