package agentpool

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// signIn renews what a host shows to others.
type signIn struct{ agent *agent }

// RenewCertificates gets the host new certificates.
func (c signIn) RenewCertificates(ctx context.Context, f kit.FencingToken) (bool, error) {
	resp, err := call(ctx, c.agent, changeLimit, c.agent.host.RenewCertificates,
		&agentv1.RenewCertificatesRequest{FencingToken: fencingToken(f)})
	return resp.GetChanged(), err
}

// ReconnectReplica restarts the IO thread alone.
func (c signIn) ReconnectReplica(ctx context.Context, timeout time.Duration,
	f kit.FencingToken) (bool, error) {
	resp, err := call(ctx, c.agent, orDefault(timeout, replDefault)+answerGrace,
		c.agent.mariadb.ReconnectReplica, &agentv1.ReconnectReplicaRequest{
			Timeout: duration(timeout), FencingToken: fencingToken(f)})
	return resp.GetChanged(), err
}
