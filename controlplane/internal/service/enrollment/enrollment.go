// Package enrollment serves EnrollmentService: it reads requests, asks the certificate registry,
// and writes answers.
package enrollment

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	operatorPrefix = "operators/"
	serverPrefix   = "servers/"
)

// Registry issues, renews and revokes certificates; *ca.Registry is one.
type Registry interface {
	// Root is the CA's certificate, and the time.
	Root() ([]byte, time.Time)
	// CheckToken says until when a join token is good, and redeems nothing.
	CheckToken(ctx context.Context, token, server, address string) (time.Time, error)
	// CreateToken makes a join token and answers with the join file and the token's end.
	CreateToken(ctx context.Context, req ca.TokenRequest) ([]byte, time.Time, error)
	// Enroll gives certificates for a join token.
	Enroll(ctx context.Context, req ca.EnrollRequest) (ca.Bundle, error)
	// Renew gives an agent new certificates.
	Renew(ctx context.Context, req ca.RenewRequest) (ca.Bundle, error)
	// RenewExpired gives another certificate in place of one that has expired.
	RenewExpired(ctx context.Context, req ca.ExpiredRequest) (ca.Renewed, error)
	// CreateOperator gives an operator a certificate.
	CreateOperator(ctx context.Context, req ca.OperatorRequest) (ca.OperatorBundle, error)
	// SetScope has an operator work with other servers.
	SetScope(ctx context.Context, req ca.ScopeRequest) (inventory.Scope, error)
	// RenewOperator gives an operator a new certificate.
	RenewOperator(ctx context.Context, peer identity.Peer, csr []byte,
		requestID string) (ca.OperatorBundle, error)
	// Revoke takes certificates away and answers with what was good of them.
	Revoke(ctx context.Context, req ca.RevokeRequest) (ca.Revoked, error)
}

// Granting makes and ends grants; ca.Granting does.
type Granting interface {
	// Grant lets an operator make changing calls on an agent.
	Grant(ctx context.Context, req ca.GrantRequest) (inventory.AgentGrant, error)
	// Revoke ends that.
	Revoke(ctx context.Context, req ca.RevokeGrantRequest) (inventory.AgentGrant, error)
}

// Authority replaces the root of the certificate authority; *ca.Rotation is one.
type Authority interface {
	// Status is how far the replacement is.
	Status(ctx context.Context) (ca.Status, error)
	// Rotate takes it one phase on, or back.
	Rotate(ctx context.Context, req ca.RotateRequest) (ca.Status, error)
	// RequestIntermediate is a signing request for an intermediate, as PEM.
	RequestIntermediate(ctx context.Context, by ca.Caller) ([]byte, error)
}

// Operators knows the operators on record.
type Operators interface {
	// List reads all, sorted.
	List(ctx context.Context) ([]query.Operator, error)
}

// Tokens knows the join tokens on record.
type Tokens interface {
	// List reads all for servers of the scope, the newest first.
	List(ctx context.Context, scope inventory.Scope) ([]inventory.JoinToken, error)
}

// Grants knows the grants on record.
type Grants interface {
	// List reads all for servers of the scope, or for one of these, the newest first.
	List(ctx context.Context, server string,
		scope inventory.Scope) ([]inventory.AgentGrant, error)
}

// Agents reaches agents.
type Agents interface {
	// Reach connects to the server's agent at a host, and answers with host and port.
	Reach(ctx context.Context, server, host string) (address string, err error)
}

// Servers knows the servers on record.
type Servers interface {
	// Address is the address on record, empty while there is none; inventory.ErrNotFound.
	Address(ctx context.Context, server string) (string, error)
}

// Config is what the service needs; only Now has a default, and Logins may be nil.
type Config struct {
	// Registry does the work.
	Registry Registry
	// Authority replaces its root.
	Authority Authority
	// Agents reaches the agents that want to know whether they can be reached.
	Agents Agents
	// Servers knows where they are expected.
	Servers Servers
	// Operators are those on record.
	Operators Operators
	// Tokens are the join tokens on record.
	Tokens Tokens
	// Granting makes and ends grants.
	Granting Granting
	// Grants are the grants on record.
	Grants Grants
	// Logins knows with whose accounts operators log in. Nil: nobody does.
	Logins Logins
	// LoggingIn gives them certificates.
	LoggingIn LoggingIn
	// Deliver tells an agent of a grant, or of its end, and answers with why the agent does not
	// know that yet; with nothing when it does.
	Deliver func(ctx context.Context, grant inventory.AgentGrant) (why string)
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Service is EnrollmentService.
type Service struct {
	controlplanev1.UnimplementedEnrollmentServiceServer

	Config
	limit *limiter
	flow  flowLimits
}

// New makes the service.
func New(config Config) (*Service, error) {
	if config.Registry == nil || config.Agents == nil || config.Servers == nil ||
		config.Operators == nil || config.Tokens == nil || config.Grants == nil ||
		config.Granting == nil || config.Deliver == nil {
		return nil, errors.New("cannot make the enrolment service: registry, agents, servers, " +
			"operators, tokens and grants are needed")
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Service{Config: config, limit: newLimiter(config.Now),
		flow: newFlowLimits(config.Now)}, nil
}

// Rules says who may call what. The server that serves it must let unknown peers in, for what a
// machine calls before it has an identity.
func Rules() authz.Table {
	machines := []identity.Role{identity.RoleAnonymous}
	agents := []identity.Role{identity.RoleAgent}
	admins := authz.Admins(identity.RoleBreakGlass)
	return authz.Table{
		controlplanev1.EnrollmentService_GetAuthority_FullMethodName:   machines,
		controlplanev1.EnrollmentService_CheckJoinToken_FullMethodName: machines,
		controlplanev1.EnrollmentService_Enroll_FullMethodName:         machines,
		controlplanev1.EnrollmentService_RenewExpired_FullMethodName:   machines,
		controlplanev1.EnrollmentService_GetLoginIssuer_FullMethodName: machines,
		controlplanev1.EnrollmentService_Login_FullMethodName:          machines,

		controlplanev1.EnrollmentService_BeginLogin_FullMethodName:         machines,
		controlplanev1.EnrollmentService_ExchangeDeviceCode_FullMethodName: machines,

		controlplanev1.EnrollmentService_CheckAgent_FullMethodName: agents,
		controlplanev1.EnrollmentService_Renew_FullMethodName:      agents,
		// A token gives no more than who changes servers has: an agent may renew itself, no more.
		controlplanev1.EnrollmentService_CreateJoinToken_FullMethodName: authz.Changers(
			identity.RoleControlPlane),
		controlplanev1.EnrollmentService_CreateOperator_FullMethodName:      admins,
		controlplanev1.EnrollmentService_UpdateOperator_FullMethodName:      admins,
		controlplanev1.EnrollmentService_ReadmitOperator_FullMethodName:     admins,
		controlplanev1.EnrollmentService_Revoke_FullMethodName:              admins,
		controlplanev1.EnrollmentService_RotateAuthority_FullMethodName:     admins,
		controlplanev1.EnrollmentService_RequestIntermediate_FullMethodName: admins,
		controlplanev1.EnrollmentService_InstallIntermediate_FullMethodName: admins,
		controlplanev1.EnrollmentService_GetAuthorityStatus_FullMethodName: authz.Readers(
			identity.RoleBreakGlass),
		controlplanev1.EnrollmentService_ListOperators_FullMethodName: authz.Readers(
			identity.RoleBreakGlass),
		controlplanev1.EnrollmentService_ListJoinTokens_FullMethodName: authz.Readers(),
		// A grant gives what who changes servers has by the control plane already.
		controlplanev1.EnrollmentService_CreateAgentGrant_FullMethodName: authz.Changers(),
		controlplanev1.EnrollmentService_RevokeAgentGrant_FullMethodName: authz.Changers(),
		controlplanev1.EnrollmentService_ListAgentGrants_FullMethodName:  authz.Readers(),
		// Everybody renews their own.
		controlplanev1.EnrollmentService_RenewOperator_FullMethodName: authz.Readers(),
	}
}

// CreateJoinToken makes a one-time token for a server's machine.
func (s *Service) CreateJoinToken(ctx context.Context,
	req *controlplanev1.CreateJoinTokenRequest) (*controlplanev1.CreateJoinTokenResponse, error) {
	file, expires, err := s.Registry.CreateToken(ctx, ca.TokenRequest{
		Server: wire.ID(req.GetServer()), TTL: req.GetTtl().AsDuration(),
		Machine:      req.GetMachine(),
		Replace:      req.GetReplace(),
		ValidateOnly: req.GetValidateOnly(),
		RequestID:    wire.RequestID(req.GetRequestId()),
		Caller:       caller(ctx),
	})
	if err != nil {
		return nil, err
	}
	answer := &controlplanev1.CreateJoinTokenResponse{JoinFile: file,
		ExpireTime: timestamppb.New(expires)}
	if !req.GetValidateOnly() {
		joining, err := identity.ParseJoinFile(file)
		if err != nil {
			return nil, err
		}
		answer.JoinCommand = joining.Command()
	}
	return answer, nil
}

// Enroll turns a join token, or what the machine's provider signed, into certificates.
func (s *Service) Enroll(ctx context.Context,
	req *controlplanev1.EnrollRequest) (*controlplanev1.EnrollResponse, error) {
	address, err := s.admit(ctx)
	if err != nil {
		return nil, err
	}
	bundle, err := s.Registry.Enroll(ctx, ca.EnrollRequest{
		Token: req.GetToken(), Attestation: req.GetEc2Identity(), Server: req.GetServer(),
		Address:   address,
		RequestID: chassis.RequestID(ctx), Believed: chassis.Intend,
		Keys:       ca.Keys{Agent: req.GetAgentCsr(), MariaDB: req.GetMariadbCsr()},
		Generation: req.GetMariadbGeneration(), TakesChain: req.GetTakesChain(),
	})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.EnrollResponse{Certificates: certificates(bundle)}, nil
}

// admit bounds what peers without an identity may ask for, by their address.
func (s *Service) admit(ctx context.Context) (address string, err error) {
	address = hostOf(identity.PeerOf(ctx).Address)
	wait := s.limit.take(address)
	if wait == 0 {
		return address, nil
	}
	return "", errs.New(errs.ResourceExhausted, errorsv1.Reason_REASON_RATE_LIMITED,
		"too many enrolments from "+address, errs.Retry(wait),
		errs.WithHint(fmt.Sprintf("it is tried again in %s",
			wait.Round(time.Second)+time.Second)))
}

// GetAuthority returns the CA's certificate and the time.
func (s *Service) GetAuthority(context.Context,
	*controlplanev1.GetAuthorityRequest) (*controlplanev1.GetAuthorityResponse, error) {
	ca, now := s.Registry.Root()
	return &controlplanev1.GetAuthorityResponse{CaPem: ca, Time: timestamppb.New(now)}, nil
}

// CheckJoinToken says whether a join token would be taken.
func (s *Service) CheckJoinToken(ctx context.Context,
	req *controlplanev1.CheckJoinTokenRequest) (*controlplanev1.CheckJoinTokenResponse, error) {
	address, err := s.admit(ctx)
	if err != nil {
		return nil, err
	}
	expires, err := s.Registry.CheckToken(ctx, req.GetToken(), req.GetServer(), address)
	if err != nil {
		return nil, err
	}
	return &controlplanev1.CheckJoinTokenResponse{ExpireTime: timestamppb.New(expires)}, nil
}

// CheckAgent connects to the calling agent. An agent can make the control plane dial the address
// that it calls from, and no other.
func (s *Service) CheckAgent(ctx context.Context,
	_ *controlplanev1.CheckAgentRequest) (*controlplanev1.CheckAgentResponse, error) {
	peer := identity.PeerOf(ctx)
	recorded, err := s.Servers.Address(ctx, peer.Identity.Name)
	unknown := errors.Is(err, inventory.ErrNotFound)
	if err != nil && !unknown {
		return nil, err
	}
	address, err := s.Agents.Reach(ctx, peer.Identity.Name, hostOf(peer.Address))
	if err != nil {
		return nil, err
	}
	return &controlplanev1.CheckAgentResponse{Address: address, Recorded: !unknown,
		RecordedAddress: recorded}, nil
}

// Renew gives the calling agent new certificates.
func (s *Service) Renew(ctx context.Context,
	req *controlplanev1.RenewRequest) (*controlplanev1.RenewResponse, error) {
	bundle, err := s.Registry.Renew(ctx, ca.RenewRequest{
		Peer: identity.PeerOf(ctx), RequestID: chassis.RequestID(ctx),
		Keys:       ca.Keys{Agent: req.GetAgentCsr(), MariaDB: req.GetMariadbCsr()},
		Generation: req.GetMariadbGeneration(), TakesChain: req.GetTakesChain(),
	})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.RenewResponse{Certificates: certificates(bundle)}, nil
}

// RenewExpired gives whoever has the key of a certificate that has expired another one.
func (s *Service) RenewExpired(ctx context.Context, req *controlplanev1.RenewExpiredRequest,
) (*controlplanev1.RenewExpiredResponse, error) {
	if _, err := s.admit(ctx); err != nil {
		return nil, err
	}
	renewed, err := s.Registry.RenewExpired(ctx, ca.ExpiredRequest{
		Certificate: req.GetCertificatePem(), CSR: req.GetCsr(),
		TakesChain: req.GetTakesChain(), Address: identity.PeerOf(ctx).Address,
		RequestID: chassis.RequestID(ctx), Believed: chassis.Intend})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.RenewExpiredResponse{CaPem: renewed.CA,
		CertificatePem: renewed.Certificate, ExpireTime: timestamppb.New(renewed.Expires)}, nil
}

// Revoke takes all certificates of an agent or an operator away.
func (s *Service) Revoke(ctx context.Context,
	req *controlplanev1.RevokeRequest) (*controlplanev1.RevokeResponse, error) {
	person, err := s.person(req.GetName(), req.GetSubject())
	if err != nil {
		return nil, err
	}
	who, kind := identity.Identity{}, operatorPrefix
	if person == nil {
		if who, err = whose(req); err != nil {
			return nil, err
		}
		if who.Role == identity.RoleAgent {
			kind = serverPrefix
		}
	}
	revoked, err := s.Registry.Revoke(ctx, ca.RevokeRequest{
		Who: who, Person: person, Reason: req.GetReason(),
		ValidateOnly: req.GetValidateOnly(), Caller: caller(ctx),
	})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.RevokeResponse{Serials: revoked.Serials,
		NoAdminLeft: revoked.NoAdminLeft, Name: kind + revoked.Name}, nil
}

// whose is the agent or the operator that a name stands for.
func whose(req *controlplanev1.RevokeRequest) (identity.Identity, error) {
	who := identity.Agent(wire.ID(req.GetName()))
	if strings.HasPrefix(req.GetName(), operatorPrefix) {
		who = identity.Operator(wire.ID(req.GetName()))
	}
	faults := errs.Fields{}
	if err := who.Check(); err != nil {
		faults.Add("name", err.Error())
	}
	return who, faults.Err()
}

func caller(ctx context.Context) ca.Caller {
	return ca.Caller{Peer: identity.PeerOf(ctx), RequestID: chassis.RequestID(ctx)}
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return host
}

func certificates(bundle ca.Bundle) *controlplanev1.Certificates {
	return &controlplanev1.Certificates{
		CaPem: bundle.CA, AgentPem: bundle.Agent, MariadbPem: bundle.MariaDB,
		ExpireTime: timestamppb.New(bundle.Expires),
	}
}
