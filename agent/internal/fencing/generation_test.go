package fencing_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/understudy-db/understudy/agent/internal/fencing"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// as is the context of a call by somebody.
func as(t *testing.T, who identity.Identity) context.Context {
	t.Helper()
	leaf := identitytest.New(t).Issue(who).Leaf
	return peer.NewContext(t.Context(), &peer.Peer{AuthInfo: credentials.TLSInfo{
		State: tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf},
			VerifiedChains: [][]*x509.Certificate{{leaf}}}}})
}

func TestAnOlderControlPlaneIsShutOut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "epochs.json")
	epochs := open(t, path)
	const none = errorsv1.Reason_REASON_UNSPECIFIED
	for i, call := range []struct {
		who        identity.Identity
		generation string
		want       errorsv1.Reason
	}{
		{identity.ControlPlane(), "100", none},
		{identity.ControlPlane(), "100", none},
		{identity.ControlPlane(), "99", errorsv1.Reason_REASON_SUPERSEDED},
		{identity.ControlPlane(), "200", none},
		{identity.ControlPlane(), "100", errorsv1.Reason_REASON_SUPERSEDED},
		{identity.ControlPlane(), "", none}, // a program of before there were generations
		{identity.ControlPlane(), "x", errorsv1.Reason_REASON_INVALID_FIELD},
		{identity.ControlPlane(), "-1", errorsv1.Reason_REASON_INVALID_FIELD},
		{identity.Operator("alice"), "999", none}, // shuts nobody out
		{identity.ControlPlane(), "200", none},
	} {
		ctx := as(t, call.who)
		if call.generation != "" {
			ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("understudy-generation",
				call.generation))
		}
		for _, asked := range []*fencing.Epochs{open(t, path), epochs} { // after a restart, and not
			err := asked.Check(ctx, &agentv1.GetStatusRequest{})
			if err == nil != (call.want == none) || err != nil && errs.ReasonOf(err) != call.want {
				t.Errorf("call %d: %v", i, err)
			}
		}
	}
}
