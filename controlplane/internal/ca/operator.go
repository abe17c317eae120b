package ca

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// OperatorBundle is what an operator gets.
type OperatorBundle struct {
	// CA is what to believe, as PEM.
	CA []byte
	// Certificate is the operator's, as PEM.
	Certificate []byte
	// Expires is when it ends.
	Expires time.Time
	// Addresses are where the control plane is reached, host:port.
	Addresses []string
}

// OperatorRequest asks for the certificate of an operator.
type OperatorRequest struct {
	// Name is the operator's.
	Name string
	// CSR is the signing request (DER) of the operator's key.
	CSR []byte
	// ValidateOnly checks the request and issues nothing.
	ValidateOnly bool
	// Caller is who asks.
	Caller Caller
}

// CreateOperator gives an operator a certificate. INVALID_ARGUMENT with CSR_INVALID or
// INVALID_FIELD.
func (r *Registry) CreateOperator(ctx context.Context,
	req OperatorRequest) (OperatorBundle, error) {
	admit := func(context.Context, Records) error { return nil }
	return r.certifyOperator(ctx, req, "operator.create", admit)
}

// RenewOperator gives an operator a new certificate for itself. PERMISSION_DENIED for any other
// role, UNAUTHENTICATED with CERTIFICATE_REVOKED for a certificate that is revoked or on no record.
func (r *Registry) RenewOperator(ctx context.Context, peer identity.Peer, csr []byte,
	requestID string) (OperatorBundle, error) {
	if peer.Identity.Role != identity.RoleOperator || peer.Certificate == nil {
		return OperatorBundle{}, errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
			"only an operator renews an operator's certificate",
			errs.WithHint("call it with an operator's certificate"))
	}
	admit := func(ctx context.Context, records Records) error {
		err := r.stillGood(ctx, records, peer)
		if err == nil || errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
			return err
		}
		return errs.New(errs.Unauthenticated, 0, "cannot renew the operator's certificate",
			errs.Wrap(err), errs.WithHint("ask another operator for a new one",
				errs.Call("CreateOperator", "name", "operators/"+peer.Identity.Name)))
	}
	return r.certifyOperator(ctx, OperatorRequest{Name: peer.Identity.Name, CSR: csr,
		Caller: Caller{Actor: peer.Identity.String(), RequestID: requestID}}, "operator.renew",
		admit)
}

// certifyOperator issues the certificate and records it in the transaction that admits it.
func (r *Registry) certifyOperator(ctx context.Context, req OperatorRequest, action string,
	admit func(context.Context, Records) error) (OperatorBundle, error) {
	who := identity.Operator(req.Name)
	faults := errs.Fields{}
	if err := who.Check(); err != nil {
		faults.Add("name", err.Error())
	}
	if err := faults.Err(); err != nil {
		return OperatorBundle{}, err
	}
	key, err := signingRequest("csr", req.CSR)
	if err != nil || req.ValidateOnly {
		return OperatorBundle{CA: r.config.Authority.PEM(), Addresses: r.config.ControlPlane}, err
	}
	issued, err := r.config.Authority.issue(peerRequest(who, nil, r.config.OperatorLife, key))
	if err != nil {
		return OperatorBundle{}, err
	}
	err = r.write(ctx, "cannot issue a certificate for the operator "+req.Name,
		func(ctx context.Context, records Records) error {
			if err := admit(ctx, records); err != nil {
				return err
			}
			if err := records.Certificates.Insert(ctx, issued.Record); err != nil {
				return err
			}
			return records.Events.Add(ctx, req.Caller.event(r.config.Now().UTC(), action,
				"operators/"+req.Name, "certificate issued until "+
					issued.Record.NotAfter.UTC().Format(time.RFC3339)+", serial "+
					issued.Record.Serial))
		})
	if err != nil {
		return OperatorBundle{}, err
	}
	return OperatorBundle{CA: r.config.Authority.PEM(), Certificate: issued.PEM,
		Expires: issued.Record.NotAfter, Addresses: r.config.ControlPlane}, nil
}
