package enroll

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const (
	firstDelay  = 200 * time.Millisecond
	maxDelay    = 5 * time.Second
	callTimeout = 20 * time.Second // a connection on a slow network comes about within it
)

// enroll asks every control plane in turn, again and again, until one answers.
func (e *Enroller) enroll(ctx context.Context, file identity.JoinFile, shown proof, s slot) error {
	roots, err := file.Roots()
	if err != nil {
		return err
	}
	agent, mariadb, err := s.requests()
	if err != nil {
		return err
	}
	generation := e.slots.current().generationOf(file.Server)
	call := func(ctx context.Context, c controlplanev1.EnrollmentServiceClient,
	) (*controlplanev1.EnrollResponse, error) {
		req := &controlplanev1.EnrollRequest{Server: file.Server, AgentCsr: agent,
			MariadbCsr: mariadb, MariadbGeneration: generation, TakesChain: true}
		shown.put(req)
		return c.Enroll(ctx, req)
	}
	for delay := firstDelay; ; delay = min(2*delay, maxDelay) {
		if err := e.checkClock(ctx, file.ControlPlane, file.CASPKISHA256); err != nil {
			return err
		}
		answer, err := ask(ctx, file.ControlPlane, &identity.Static{Roots: roots}, call)
		if err == nil {
			return e.keep(s, file.Server, answer.GetCertificates(), true)
		}
		if final(err) || ctx.Err() != nil {
			return err
		}
		e.config.Logger.Warn("cannot enrol yet", "server", file.Server, "error", err)
		if !pause(ctx, delay, err) {
			return err
		}
	}
}

// ask makes the call to the first control plane that answers; its refusal ends the round.
func ask[Answer any](ctx context.Context, addresses []string, source identity.Source,
	call func(context.Context, controlplanev1.EnrollmentServiceClient) (Answer, error),
) (answer Answer, failed error) {
	failed = errors.New("no address of a control plane")
	for _, address := range addresses {
		if answer, failed = callOne(ctx, address, source, call); failed == nil || final(failed) {
			return answer, failed
		}
	}
	return answer, failed
}

func callOne[Answer any](ctx context.Context, address string, source identity.Source,
	call func(context.Context, controlplanev1.EnrollmentServiceClient) (Answer, error),
) (answer Answer, err error) {
	conn, err := chassis.Dial(chassis.DialConfig{Address: address, Deadline: callTimeout,
		TLS: identity.ClientConfig{Source: source, Expect: identity.ControlPlane()}})
	if err != nil {
		return answer, err
	}
	// An answer that was read is not lost by a connection that ends badly.
	defer func() { _ = conn.Close() }()
	return call(ctx, controlplanev1.NewEnrollmentServiceClient(conn))
}

// final says whether asking again would be answered the same.
func final(err error) bool {
	switch errs.KindOf(err) {
	case errs.PermissionDenied, errs.InvalidArgument, errs.Unauthenticated, errs.Unimplemented,
		errs.FailedPrecondition:
		return true
	default:
		return false
	}
}

// pause waits for the delay, more or less, or as long as the control plane asks for; false when ctx
// ended.
func pause(ctx context.Context, delay time.Duration, err error) bool {
	if asked, ok := errs.RetryOf(err); ok {
		delay = max(delay, min(asked, time.Minute))
	}
	return loop.Pause(ctx, delay/2+rand.N(delay/2+1)) == nil
}

// keep writes the certificates into the slot, the agent's own last, once they are what was asked
// for: the slot may be the one in use. MariaDB's is left as it is when there is to be no other one.
func (e *Enroller) keep(s slot, server string, certificates *controlplanev1.Certificates,
	mariadb bool) error {
	type file struct {
		path string
		data []byte
	}
	own, other := s.files(), s.mariadbFiles()
	files := []file{{other.CA, certificates.GetCaPem()}, {own.CA, certificates.GetCaPem()},
		{own.Cert, certificates.GetAgentPem()}}
	_, err := verify(certificates.GetAgentPem(), certificates.GetCaPem(), own.Key, e.config.Now(),
		identity.Agent(server))
	if mariadb && err == nil {
		files = append([]file{{other.Cert, certificates.GetMariadbPem()}}, files...)
		_, err = verify(certificates.GetMariadbPem(), certificates.GetCaPem(), other.Key,
			e.config.Now(), identity.Identity{})
	}
	if err != nil {
		return fmt.Errorf("the control plane's certificates for %s cannot be used: %w", server, err)
	}
	for _, f := range files {
		if err := atomicfile.Write(f.path, f.data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
