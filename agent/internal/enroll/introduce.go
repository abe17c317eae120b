package enroll

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Introduction is what a control plane answers a host that knows nothing but the CA's pin. It is
// proved: the CA has the pin, and the control plane that answered has a certificate of that CA.
type Introduction struct {
	// CAPEM is the CA's certificate.
	CAPEM []byte
	// Time is the control plane's clock, and Host this host's, at the same moment give or take half
	// of RoundTrip.
	Time, Host time.Time
	// RoundTrip is how long the call took.
	RoundTrip time.Duration
}

// Introduce asks the control plane at the address for its CA and its clock.
func Introduce(ctx context.Context, address, pin string) (Introduction, error) {
	conn, err := chassis.Dial(chassis.DialConfig{Address: address, Deadline: callTimeout,
		TLS: identity.ClientConfig{Source: &identity.Static{}, Expect: identity.ControlPlane(),
			Unverified: true}})
	if err != nil {
		return Introduction{}, err
	}
	defer conn.Close()
	client := controlplanev1.NewEnrollmentServiceClient(conn)
	// The first call makes the connection, so the second one tells the time.
	var answer *controlplanev1.GetAuthorityResponse
	var shown peer.Peer
	var sent, received time.Time
	for range 2 {
		sent = time.Now()
		answer, err = client.GetAuthority(ctx, &controlplanev1.GetAuthorityRequest{},
			grpc.Peer(&shown))
		if err != nil {
			return Introduction{}, err
		}
		received = time.Now()
	}
	took := received.Sub(sent)
	in := Introduction{CAPEM: answer.GetCaPem(), Time: answer.GetTime().AsTime(),
		Host: sent.Add(took / 2), RoundTrip: took}
	if err := identity.VerifyIntroduced(in.CAPEM, pin, certificatesOf(shown),
		identity.ControlPlane()); err != nil {
		return Introduction{}, fmt.Errorf("%s is not the control plane of this pin: %w", address,
			err)
	}
	return in, nil
}

func certificatesOf(p peer.Peer) []*x509.Certificate {
	info, _ := p.AuthInfo.(credentials.TLSInfo)
	return info.State.PeerCertificates
}

// CheckToken says until when the join file's token is good, and does not use it.
func CheckToken(ctx context.Context, address string, file identity.JoinFile) (time.Time, error) {
	roots, err := file.Roots()
	if err != nil {
		return time.Time{}, err
	}
	answer, err := callOne(ctx, address, &identity.Static{Roots: roots},
		func(ctx context.Context, c controlplanev1.EnrollmentServiceClient,
		) (*controlplanev1.CheckJoinTokenResponse, error) {
			return c.CheckJoinToken(ctx, &controlplanev1.CheckJoinTokenRequest{Token: file.Token,
				Server: file.Server})
		})
	return answer.GetExpireTime().AsTime(), err
}

// Observation is how the control plane sees this host's agent.
type Observation struct {
	// Address is where it reached the agent.
	Address string `json:"address"`
	// Recorded is true when it has a record of the server; RecordedAddress is the address in it.
	Recorded        bool   `json:"recorded"`
	RecordedAddress string `json:"recorded_address,omitempty"`
}

// Seen asks the control plane to connect to this host's agent.
func (e *Enroller) Seen(ctx context.Context) (Observation, error) {
	have, err := e.slots.current().load(e.config.Now())
	if err != nil {
		return Observation{}, e.noIdentity(ctx, err, nil)
	}
	source, err := identity.NewFiles(e.Files())
	if err != nil {
		return Observation{}, err
	}
	answer, err := ask(ctx, have.ControlPlane, source,
		func(ctx context.Context, c controlplanev1.EnrollmentServiceClient,
		) (*controlplanev1.CheckAgentResponse, error) {
			return c.CheckAgent(ctx, &controlplanev1.CheckAgentRequest{})
		})
	return Observation{Address: answer.GetAddress(), Recorded: answer.GetRecorded(),
		RecordedAddress: answer.GetRecordedAddress()}, err
}
