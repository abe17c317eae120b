package enroll

import (
	"context"

	"github.com/understudy-db/understudy/proto/rpc/identity"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// proof is what the host shows to join.
type proof struct {
	// id tells it from others, and tells no secret.
	id string
	// put puts it into a request.
	put func(*controlplanev1.EnrollRequest)
}

// prove is what the host has to show: the token of the join file, or what EC2 signs about this
// machine, which is another one after each start of it.
func (e *Enroller) prove(ctx context.Context, file identity.JoinFile) (proof, error) {
	if file.Attest == "" {
		return proof{hashOf(file.Token), func(req *controlplanev1.EnrollRequest) {
			req.Proof = &controlplanev1.EnrollRequest_Token{Token: file.Token}
		}}, nil
	}
	document, signed, err := newMetadata(e.config.Metadata).identity(ctx)
	if err != nil {
		return proof{}, err
	}
	return proof{hashOf(file.Attest + " " + string(document)),
		func(req *controlplanev1.EnrollRequest) {
			req.Proof = &controlplanev1.EnrollRequest_Ec2Identity{Ec2Identity: signed}
		}}, nil
}

// CheckAttested says whether this machine can show what EC2 signs about it.
func (e *Enroller) CheckAttested(ctx context.Context, file identity.JoinFile) error {
	_, err := e.prove(ctx, file)
	return err
}
