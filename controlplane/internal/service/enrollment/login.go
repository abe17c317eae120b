package enrollment

import (
	"context"
	"crypto/x509"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/login"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Logins knows the identity provider with whose accounts operators log in; *login.Login does.
type Logins interface {
	// Settings are what a client needs to get an ID token.
	Settings() (issuer, clientID string, scopes []string)
	// ByControlPlane says whether the client has a secret, and the control plane alone asks the
	// provider.
	ByControlPlane() bool
	// Begin asks for a code whose ID token is to have the nonce.
	Begin(ctx context.Context, nonce string) (login.Code, error)
	// Exchange asks for the ID token of a code.
	Exchange(ctx context.Context, device string) (login.Exchanged, error)
	// Verify says whom an ID token is about, for who proved the key in PKIX form.
	Verify(ctx context.Context, token string, key []byte) (login.Verified, error)
	// Admit says what the person may do, on which servers.
	Admit(v login.Verified) (identity.Role, []string, error)
}

// LoggingIn gives certificates to who logs in; ca.LoggingIn does.
type LoggingIn interface {
	// Login gives a person whom an ID token is about a certificate.
	Login(ctx context.Context, req ca.LoginRequest) (ca.LoginBundle, error)
	// NoteLoginRefused writes the event of a person who is refused.
	NoteLoginRefused(ctx context.Context, person inventory.Person, caller ca.Caller, why error)
	// Readmit lets a person who was revoked log in again.
	Readmit(ctx context.Context, req ca.ReadmitRequest) (name string, err error)
}

// logins is the identity provider, or why there is none.
func (s *Service) logins() (Logins, error) {
	if s.Logins != nil {
		return s.Logins, nil
	}
	return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_LOGIN_NOT_CONFIGURED,
		"nobody logs in here: the control plane knows no identity provider",
		errs.WithHint("ask an admin for credentials, or who runs the control plane to set "+
			"oidc_issuer", errs.Call("CreateOperator")))
}

// GetLoginIssuer returns the identity provider.
func (s *Service) GetLoginIssuer(context.Context, *controlplanev1.GetLoginIssuerRequest,
) (*controlplanev1.GetLoginIssuerResponse, error) {
	logins, err := s.logins()
	if err != nil {
		return nil, err
	}
	issuer, clientID, scopes := logins.Settings()
	return &controlplanev1.GetLoginIssuerResponse{Issuer: issuer, ClientId: clientID,
		Scopes: scopes, ByControlPlane: logins.ByControlPlane()}, nil
}

// Login gives a person a certificate. The key is looked at before the ID token, which costs more.
func (s *Service) Login(ctx context.Context,
	req *controlplanev1.LoginRequest) (*controlplanev1.LoginResponse, error) {
	logins, err := s.logins()
	if err != nil {
		return nil, err
	}
	if _, err := s.admit(ctx); err != nil {
		return nil, err
	}
	key, err := ca.RequestKey("csr", req.GetCsr())
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	verified, err := logins.Verify(ctx, req.GetIdToken(), public)
	if err != nil {
		return nil, err
	}
	role, servers, err := logins.Admit(verified)
	if err != nil {
		if errs.ReasonOf(err) == errorsv1.Reason_REASON_NO_ROLE {
			s.LoggingIn.NoteLoginRefused(ctx, verified.Person, caller(ctx), err)
		}
		return nil, err
	}
	bundle, err := s.LoggingIn.Login(ctx, ca.LoginRequest{Person: verified.Person,
		Token: verified.Hash, Issued: verified.Issued, Expires: verified.Expires,
		Ends: verified.Ends, Role: role, Servers: servers, Key: key,
		Caller: caller(ctx), Believed: chassis.Intend})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.LoginResponse{Name: operatorPrefix + bundle.Identity.Name,
		Role:    enum.Of[controlplanev1.OperatorRole](string(bundle.Identity.Role)),
		Servers: bundle.Scope, Certificate: operatorCertificate(bundle.OperatorBundle),
		Addresses: bundle.Addresses, ShownName: verified.Person.Shown}, nil
}

// ReadmitOperator lets a person who was revoked log in again.
func (s *Service) ReadmitOperator(ctx context.Context, req *controlplanev1.ReadmitOperatorRequest,
) (*controlplanev1.ReadmitOperatorResponse, error) {
	person, err := s.person(req.GetName(), req.GetSubject())
	if err != nil {
		return nil, err
	}
	name, err := s.LoggingIn.Readmit(ctx, ca.ReadmitRequest{Name: wire.ID(req.GetName()),
		Person: person, ValidateOnly: req.GetValidateOnly(), Caller: caller(ctx)})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.ReadmitOperatorResponse{Name: operatorPrefix + name}, nil
}

// person is who has the subject at the identity provider; nil where a name is given instead.
func (s *Service) person(name, subject string) (*inventory.Person, error) {
	faults := errs.Fields{}
	faults.Require("name", name != "" || subject != "", "is required without subject")
	faults.Require("subject", name == "" || subject == "", "must not be given with name")
	faults.Require("subject", subject == "" || login.IsSubject(subject),
		"must be a claim sub as the identity provider has it, in characters that are seen")
	if err := faults.Err(); err != nil || subject == "" {
		return nil, err
	}
	logins, err := s.logins()
	if err != nil {
		return nil, err
	}
	issuer, _, _ := logins.Settings()
	return &inventory.Person{Issuer: issuer, Subject: subject}, nil
}
