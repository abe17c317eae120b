package enrollment_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// A machine that knows nothing but the pin learns the CA, and whether it is the pinned one.
func TestAPinIsEnoughToTrust(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	pin := p.machine("db-1").file.CASPKISHA256
	conn, err := chassis.Dial(chassis.DialConfig{Address: p.address,
		TLS: identity.ClientConfig{Source: &identity.Static{}, Expect: identity.ControlPlane(),
			Unverified: true}})
	must(t, err)
	defer conn.Close()
	var shown peer.Peer
	answer, err := controlplanev1.NewEnrollmentServiceClient(conn).GetAuthority(t.Context(),
		&controlplanev1.GetAuthorityRequest{}, grpc.Peer(&shown))
	must(t, err)
	certs := shown.AuthInfo.(credentials.TLSInfo).State.PeerCertificates
	verify := func(pin string) error {
		return identity.VerifyIntroduced(answer.GetCaPem(), pin, certs,
			identity.ControlPlane())
	}
	if err := verify(pin); err != nil {
		t.Error(err)
	}
	if verify("00"+pin[2:]) == nil {
		t.Error("any CA is taken")
	}
	if apart := time.Since(answer.GetTime().AsTime()); apart < 0 || apart > time.Minute {
		t.Errorf("its clock is %s away", apart)
	}
}

// The line has all that a host needs but the CA, which its pin stands for.
func TestTheLineToJoinWith(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	answer, err := p.client(p.operator).CreateJoinToken(t.Context(),
		&controlplanev1.CreateJoinTokenRequest{Server: "servers/db-1"})
	must(t, err)
	file, err := identity.ParseJoinFile(answer.GetJoinFile())
	must(t, err)
	want := "understudy-agent join --server db-1 --address " + p.address + " --ca-pin sha256:" +
		file.CASPKISHA256 + " --token " + file.Token
	if answer.GetJoinCommand() != want {
		t.Errorf("got %q, want %q", answer.GetJoinCommand(), want)
	}
	if pin, err := identity.ParsePin("sha256:" + file.CASPKISHA256); err != nil ||
		pin != file.CASPKISHA256 {
		t.Errorf("the pin is read as %q, %v", pin, err)
	}
}

func TestATokenIsCheckedAndNotSpent(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	m := p.machine("db-1")
	machine := p.client(m.stranger(t))
	check := func(token, server string) (*controlplanev1.CheckJoinTokenResponse, error) {
		return machine.CheckJoinToken(t.Context(),
			&controlplanev1.CheckJoinTokenRequest{Token: token, Server: server})
	}
	answer, err := check(m.file.Token, "db-1")
	must(t, err)
	if left := time.Until(answer.GetExpireTime().AsTime()); left < 14*time.Minute {
		t.Errorf("%s left", left)
	}
	refusals := map[string]errorsv1.Reason{}
	for name, got := range map[string]struct{ token, server string }{
		"other server": {m.file.Token, "db-2"}, "no token": {"", "db-1"},
	} {
		_, err := check(got.token, got.server)
		refusals[name] = errs.ReasonOf(err)
	}
	_, err = machine.Enroll(t.Context(), m.request())
	must(t, err) // the checks have not spent it
	_, err = check(m.file.Token, "db-1")
	refusals["used"] = errs.ReasonOf(err)
	want := map[string]errorsv1.Reason{
		"other server": errorsv1.Reason_REASON_TOKEN_INVALID,
		"no token":     errorsv1.Reason_REASON_TOKEN_INVALID,
		"used":         errorsv1.Reason_REASON_TOKEN_USED,
	}
	for name, reason := range want {
		if refusals[name] != reason {
			t.Errorf("%s: %s", name, refusals[name])
		}
	}
}

// An agent makes the control plane dial the address that it calls from, under its own name.
func TestAnAgentIsDialledBack(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	m := p.machine("db-1")
	enrolled, err := p.client(m.stranger(t)).Enroll(t.Context(), m.request())
	must(t, err)
	agent := p.client(m.identity(t, enrolled.GetCertificates()))
	answer, err := agent.CheckAgent(t.Context(), &controlplanev1.CheckAgentRequest{})
	must(t, err)
	if answer.GetAddress() != "127.0.0.1:7443" || answer.GetRecorded() ||
		len(p.dialled) != 1 || p.dialled[0] != "db-1 at 127.0.0.1" {
		t.Errorf("%v, dialled %v", answer, p.dialled)
	}
	_, err = p.client(p.operator).CheckAgent(t.Context(), &controlplanev1.CheckAgentRequest{})
	if !errors.Is(err, errs.PermissionDenied) {
		t.Errorf("an operator: %v", err)
	}
}
