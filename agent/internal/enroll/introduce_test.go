package enroll_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// GetAuthority answers with the plane's CA, or with the one that it claims to be of.
func (p *plane) GetAuthority(context.Context,
	*controlplanev1.GetAuthorityRequest) (*controlplanev1.GetAuthorityResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ca := p.ca.Certificate
	if p.claims != nil {
		ca = p.claims.Certificate
	}
	return &controlplanev1.GetAuthorityResponse{CaPem: encode(ca),
		Time: timestamppb.New(time.Now().Add(p.ahead))}, nil
}

// CheckAgent sees the agent.
func (p *plane) CheckAgent(context.Context,
	*controlplanev1.CheckAgentRequest) (*controlplanev1.CheckAgentResponse, error) {
	return &controlplanev1.CheckAgentResponse{Address: "127.0.0.1:7443"}, nil
}

func TestIntroduction(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.ahead = -time.Hour / 2
	in, err := enroll.Introduce(patience(t), p.address, identity.Pin(p.ca.Certificate))
	if err != nil {
		t.Fatal(err)
	}
	if string(in.CAPEM) != string(encode(p.ca.Certificate)) {
		t.Error("another CA")
	}
	apart := in.Host.Sub(in.Time)
	if apart < 29*time.Minute || apart > 31*time.Minute {
		t.Errorf("the clocks are %s apart", apart)
	}
}

// A false control plane has no certificate of the pinned CA, whatever CA it shows.
func TestAFalseControlPlaneIsNotBelieved(t *testing.T) {
	t.Parallel()
	real, p := identitytest.New(t), newPlane(t)
	pin := identity.Pin(real.Certificate)
	for name, claims := range map[string]*identitytest.CA{"its own CA": nil, "the true CA": real} {
		p.set(func() { p.claims = claims })
		_, err := enroll.Introduce(patience(t), p.address, pin)
		if err == nil || !strings.Contains(err.Error(), "is not the control plane of this pin") {
			t.Errorf("with %s: %v", name, err)
		}
	}
}

// A control plane that was restored elsewhere tells its new address, which outlives a restart.
func TestAnotherAddress(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	e := h.joined("t1")
	elsewhere := newPlaneOf(t, h.plane.ca)
	for _, want := range []bool{true, false} {
		changed, err := e.SetControlPlane([]string{elsewhere.address})
		if err != nil || changed != want {
			t.Errorf("changed %v, want %v: %v", changed, want, err)
		}
	}
	serial := h.serial(e)
	e = h.start()
	if err := e.Renew(patience(t)); err != nil {
		t.Fatal(err)
	}
	if h.serial(e) == serial || len(elsewhere.keys) != 1 || len(h.plane.keys) != 1 {
		t.Error("not renewed at the new address")
	}
	addresses, _, err := e.ControlPlane()
	if err != nil || len(addresses) != 1 || addresses[0] != elsewhere.address {
		t.Errorf("after the renewal: %v, %v", addresses, err)
	}
}

// An address that arrives during a renewal is not lost with the slot that the renewal leaves.
func TestAnotherAddressDuringARenewal(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	e := h.joined("t1")
	h.plane.set(func() {
		h.plane.after = func() error {
			_, err := e.SetControlPlane([]string{"192.0.2.1:7440"})
			return err
		}
	})
	if err := e.Renew(patience(t)); err != nil {
		t.Fatal(err)
	}
	addresses, _, err := e.ControlPlane()
	if err != nil || len(addresses) != 1 || addresses[0] != "192.0.2.1:7440" {
		t.Errorf("%v, %v", addresses, err)
	}
}

func TestJoinWithoutAFile(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	e := h.start()
	if name, _, err := e.Current(); name != "" || err == nil {
		t.Errorf("before: %q, %v", name, err)
	}
	h.plane.set(func() { h.plane.tokens["t1"] = "" })
	file := identity.JoinFile{Server: "db-1", ControlPlane: []string{h.plane.address}, Token: "t1",
		CASPKISHA256: identity.Pin(h.plane.ca.Certificate),
		CAPEM:        string(encode(h.plane.ca.Certificate))}
	if err := e.Join(patience(t), file); err != nil {
		t.Fatal(err)
	}
	h.check(e)
	name, until, err := e.Current()
	if name != "db-1" || err != nil || time.Until(until) <= 0 {
		t.Errorf("after: %q, %s, %v", name, until, err)
	}
	addresses, pin, err := e.ControlPlane()
	if err != nil || pin != file.CASPKISHA256 || len(addresses) != 1 ||
		addresses[0] != h.plane.address {
		t.Errorf("renews at %v, %s, %v", addresses, pin, err)
	}
	if observed, err := e.Seen(patience(t)); err != nil || observed.Address != "127.0.0.1:7443" {
		t.Errorf("%v, %v", observed, err)
	}
}
