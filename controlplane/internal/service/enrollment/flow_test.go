package enrollment

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/grpc/peer"

	"github.com/understudy-db/understudy/controlplane/internal/login"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestNetworks(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{"192.0.2.1": "192.0.2.1",
		"::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64", "": ""} {
		if got := network(address); got != want {
			t.Errorf("%s is of %s, want %s", address, got, want)
		}
	}
}

// counting is a provider whose client has a secret, and counts.
type counting struct {
	Logins

	asked *int
}

func (counting) ByControlPlane() bool { return true }

func (c counting) Begin(context.Context, string) (login.Code, error) {
	*c.asked++
	return login.Code{Device: "d"}, nil
}

func (c counting) Exchange(context.Context, string) (login.Exchanged, error) {
	*c.asked++
	return login.Exchanged{}, nil
}

// A flood costs the provider few requests, also from all addresses of a network, or from many
// networks, and the networks of others nothing.
func TestAFloodOfLoginsIsHeldDown(t *testing.T) {
	t.Parallel()
	now := time.Now()
	asked := 0
	s := &Service{Config: Config{Logins: counting{asked: &asked}},
		flow: newFlowLimits(func() time.Time { return now })}
	from := func(address string) context.Context {
		return peer.NewContext(t.Context(), &peer.Peer{Addr: net.TCPAddrFromAddrPort(
			netip.AddrPortFrom(netip.MustParseAddr(address), 5))})
	}
	begin := func(address string) error {
		_, err := s.BeginLogin(from(address), &controlplanev1.BeginLoginRequest{Nonce: "n"})
		return err
	}
	var last error
	for i := range 1000 {
		last = begin(fmt.Sprintf("2001:db8::%x", i+1))
	}
	if wait, worth := errs.RetryOf(last); asked != 20 || !worth || wait <= 0 ||
		errs.ReasonOf(last) != errorsv1.Reason_REASON_RATE_LIMITED {
		t.Errorf("one network: %d requests, %v", asked, last)
	}
	if err := begin("192.0.2.1"); err != nil {
		t.Errorf("another network: %v", err)
	}
	for i := range 1000 {
		last = begin(fmt.Sprintf("2001:db8:%x::1", i+1))
	}
	if asked != 60 || errs.ReasonOf(last) != errorsv1.Reason_REASON_RATE_LIMITED {
		t.Errorf("many networks: %d requests, %v", asked, last)
	}
	now = now.Add(time.Minute)
	if err := begin("2001:db8::1"); err != nil {
		t.Errorf("a minute later: %v", err)
	}
	asked = 0
	for range 1000 {
		_, last = s.ExchangeDeviceCode(from("192.0.2.1"),
			&controlplanev1.ExchangeDeviceCodeRequest{DeviceCode: "d"})
	}
	if asked != 60 || errs.ReasonOf(last) != errorsv1.Reason_REASON_RATE_LIMITED {
		t.Errorf("questions: %d, %v", asked, last)
	}
}

// without is a provider whose client has no secret.
type without struct{ counting }

func (without) ByControlPlane() bool { return false }

// Where the client has no secret, nobody has the control plane ask in their place.
func TestAClientWithoutASecretIsNotSpokenFor(t *testing.T) {
	t.Parallel()
	asked := 0
	s := &Service{Config: Config{Logins: without{counting{asked: &asked}}},
		flow: newFlowLimits(time.Now)}
	_, begin := s.BeginLogin(t.Context(), &controlplanev1.BeginLoginRequest{Nonce: "n"})
	_, exchange := s.ExchangeDeviceCode(t.Context(),
		&controlplanev1.ExchangeDeviceCodeRequest{DeviceCode: "d"})
	for _, err := range []error{begin, exchange} {
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_LOGIN_NOT_CONFIGURED {
			t.Error(err)
		}
	}
	if asked > 0 {
		t.Errorf("asked %d times", asked)
	}
}

// Questions about codes are bounded from many networks, too.
func TestAFloodOfQuestionsIsHeldDown(t *testing.T) {
	t.Parallel()
	now, asked := time.Now(), 0
	s := &Service{Config: Config{Logins: counting{asked: &asked}},
		flow: newFlowLimits(func() time.Time { return now })}
	var last error
	for i := range 1000 {
		from := peer.NewContext(t.Context(), &peer.Peer{Addr: net.TCPAddrFromAddrPort(
			netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::1", i+1)), 5))})
		_, last = s.ExchangeDeviceCode(from,
			&controlplanev1.ExchangeDeviceCodeRequest{DeviceCode: "d"})
	}
	if asked != 200 || errs.ReasonOf(last) != errorsv1.Reason_REASON_RATE_LIMITED {
		t.Errorf("%d questions, %v", asked, last)
	}
}
