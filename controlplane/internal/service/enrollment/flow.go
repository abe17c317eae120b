package enrollment

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// flowLimits hold strangers down who have the control plane ask the identity provider, each network
// by itself, and all together: the provider would hold this control plane down otherwise.
type flowLimits struct{ begins, allBegins, exchanges, allExchanges *limiter }

func newFlowLimits(now func() time.Time) flowLimits {
	return flowLimits{begins: limiterOf(now, 20, 3*time.Second),
		allBegins: limiterOf(now, 60, 500*time.Millisecond),
		exchanges: limiterOf(now, 60, 500*time.Millisecond),
		// 200 persons who log in at a time, each asking every five seconds.
		allExchanges: limiterOf(now, 200, 25*time.Millisecond)}
}

// network is whose the address is: itself for IPv4, its /64 for IPv6, of which anybody has all.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	prefix, err := ip.Prefix(64)
	if err != nil {
		return address
	}
	return prefix.String()
}

// allow takes one of a network's, then one of all: who is held down costs the others nothing.
func allow(ctx context.Context, own, all *limiter) error {
	from := network(hostOf(identity.PeerOf(ctx).Address))
	wait := own.take(from)
	if wait == 0 {
		from = "all networks"
		wait = all.take("")
	}
	if wait == 0 {
		return nil
	}
	return errs.New(errs.ResourceExhausted, errorsv1.Reason_REASON_RATE_LIMITED,
		"too many logins from "+from, errs.Retry(wait),
		errs.WithHint(fmt.Sprintf("try again in %s", wait.Round(time.Second)+time.Second)))
}

// speaking is the identity provider that the control plane alone asks.
func (s *Service) speaking() (Logins, error) {
	logins, err := s.logins()
	if err == nil && !logins.ByControlPlane() {
		err = errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_LOGIN_NOT_CONFIGURED,
			"the client of the control plane has no secret: the identity provider is asked "+
				"without the control plane", errs.WithHint("log in again", errs.Call("Login")))
	}
	return logins, err
}

// BeginLogin asks the identity provider for a code.
func (s *Service) BeginLogin(ctx context.Context,
	req *controlplanev1.BeginLoginRequest) (*controlplanev1.BeginLoginResponse, error) {
	logins, err := s.speaking()
	if err == nil {
		err = allow(ctx, s.flow.begins, s.flow.allBegins)
	}
	if err != nil {
		return nil, err
	}
	code, err := logins.Begin(ctx, req.GetNonce())
	if err != nil {
		return nil, err
	}
	return &controlplanev1.BeginLoginResponse{DeviceCode: code.Device, UserCode: code.User,
		VerificationUri: code.Address, VerificationUriComplete: code.Whole,
		ExpireTime: timestamppb.New(code.Ends), Interval: durationpb.New(code.Pause)}, nil
}

// ExchangeDeviceCode asks for the ID token of a code.
func (s *Service) ExchangeDeviceCode(ctx context.Context,
	req *controlplanev1.ExchangeDeviceCodeRequest) (*controlplanev1.ExchangeDeviceCodeResponse,
	error) {
	logins, err := s.speaking()
	if err == nil {
		err = allow(ctx, s.flow.exchanges, s.flow.allExchanges)
	}
	if err != nil {
		return nil, err
	}
	got, err := logins.Exchange(ctx, req.GetDeviceCode())
	if err != nil {
		return nil, err
	}
	return &controlplanev1.ExchangeDeviceCodeResponse{IdToken: got.IDToken,
		Slower: got.Slower}, nil
}
