package app_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// What somebody does who has stolen a viewer's key; TestEachRoleCallsWhatItMay has each method.

// viewer is a viewer's key, and a connection with it. The plane's own stays an admin's.
func (p *plane) viewer() (identity.Source, *grpc.ClientConn) {
	p.t.Helper()
	source := p.operator("vic", cpv1.OperatorRole_OPERATOR_ROLE_VIEWER)
	conn := p.Dial(source)
	return source, conn
}

func TestAStolenViewersKeyChangesNothing(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.addServer("db1", "")
	_, p.conn = p.viewer()
	before, requests := p.fingerprint(), sane()
	for method, desc := range methods() {
		_ = p.send(method, desc, requests[string(desc.Name())])
	}
	if after := p.fingerprint(); after != before {
		t.Errorf("a viewer changed the records from\n%s\nto\n%s", before, after)
	}
	if n := p.changes(); n != 0 {
		t.Errorf("a viewer changed the provider %d times", n)
	}
}

// Who calls is in the certificate: what a call says of itself counts for nothing.
func TestAViewerGetsNoRoleByMetadata(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	_, conn := p.viewer()
	_, csr := p.newKey()
	admin := identity.Admin("admin").String()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", admin,
		"understudy-generation", "999", "x-forwarded-client-cert", "URI="+admin,
		"x-forwarded-for", "127.0.0.1", "authorization", "Bearer "+admin, "role", "admin")
	_, err := cpv1.NewEnrollmentServiceClient(conn).CreateOperator(ctx,
		&cpv1.CreateOperatorRequest{Name: "operators/eve", Csr: csr})
	refused(t, err, errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED)
	for _, method := range []string{"//understudy.controlplane.v1.EnrollmentService/CreateOperator",
		"/understudy.controlplane.v1.EnrollmentService//CreateOperator",
		"/understudy.controlplane.v1.enrollmentservice/CreateOperator",
		"/understudy.controlplane.v1.EnrollmentService/CreateOperator/"} {
		err := conn.Invoke(ctx, method, &cpv1.CreateOperatorRequest{Name: "operators/eve",
			Csr: csr}, &cpv1.CreateOperatorResponse{})
		if err == nil || errs.KindOf(err) != errs.Unimplemented {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestAViewersKeySignsNoAdmin(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	source, _ := p.viewer()
	stolen, err := source.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := x509.ParseCertificate(stolen.Certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	own := stolen.Certificate.PrivateKey.(*ecdsa.PrivateKey)
	for name, parent := range map[string]*x509.Certificate{"signed by it": issuer,
		"signed by itself": nil} {
		forged := &x509.Certificate{SerialNumber: big.NewInt(1), Issuer: issuer.Issuer,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			URIs:        []*url.URL{identity.Admin("admin").URI()}}
		if parent == nil {
			parent = forged
		}
		der, err := x509.CreateCertificate(rand.Reader, forged, parent, &own.PublicKey, own)
		if err != nil {
			t.Fatal(err)
		}
		conn := p.Dial(&identity.Static{Roots: stolen.Roots, Certificate: &tls.Certificate{
			Certificate: [][]byte{der, issuer.Raw}, PrivateKey: own}})
		_, err = cpv1.NewEnrollmentServiceClient(conn).ListOperators(t.Context(),
			&cpv1.ListOperatorsRequest{})
		if err == nil || errs.KindOf(err) != errs.Unavailable {
			t.Errorf("a certificate of an admin, %s: %v", name, err)
		}
	}
}

// Streams that were opened before a revocation end with it, and so does renewal.
func TestAViewersStreamsEndWithItsRevocation(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	made, err := p.servers().CreateServer(t.Context(),
		&cpv1.CreateServerRequest{Name: "servers/db1"})
	if err != nil {
		t.Fatal(err)
	}
	p.until(made.GetJob().GetName(), inState(cpv1.Job_STATE_WAITING))
	source, conn := p.viewer()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := cpv1.NewJobServiceClient(conn).WatchJob(ctx,
		&cpv1.WatchJobRequest{Name: made.GetJob().GetName()})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cpv1.NewEnrollmentServiceClient(p.conn).Revoke(t.Context(),
		&cpv1.RevokeRequest{Name: "operators/vic", Reason: "stolen"}); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if ctx.Err() != nil || errs.KindOf(err) != errs.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}
	_, csr := p.newKey()
	for _, conn := range []*grpc.ClientConn{conn, p.Dial(source)} {
		_, err := cpv1.NewEnrollmentServiceClient(conn).RenewOperator(t.Context(),
			&cpv1.RenewOperatorRequest{Csr: csr})
		if kind := errs.KindOf(err); kind != errs.Unauthenticated && kind != errs.Unavailable {
			t.Errorf("renewed after the revocation: %v", err)
		}
	}
	if answer, err := cpv1.NewEnrollmentServiceClient(p.conn).ListOperators(t.Context(),
		&cpv1.ListOperatorsRequest{}); err != nil ||
		!strings.Contains(answer.String(), "STATE_REVOKED") {
		t.Errorf("operators %v: %v", answer, err)
	}
}
