package app_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/app/apptest"
	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// here is a lab whose machines are all at the address of this test.
type here struct{ *ec2lab.Memory }

const hereAddress = "127.0.0.1"

func (h here) GetMachine(ctx context.Context, id string) (provider.Machine, error) {
	m, err := h.Memory.GetMachine(ctx, id)
	m.Address = hereAddress
	return m, err
}

func (h here) ListMachines(ctx context.Context,
	f provider.Filter) (all []provider.Machine, err error) {
	all, err = h.Memory.ListMachines(ctx, f)
	for i := range all {
		all[i].Address = hereAddress
	}
	return all, err
}

// A whole control plane, with the SDK and an EC2 endpoint: an operator names a machine, and it
// joins by what the endpoint signs about it.
func TestAMachineOfEC2JoinsWithoutAToken(t *testing.T) {
	lab := here{ec2lab.NewMemory(provider.Image{Name: "trixie", Ready: true})}
	endpoint, err := ec2lab.New(ec2lab.Config{Lab: lab})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(endpoint)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", ec2lab.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "lab")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	certificate, err := endpoint.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ec2.pem")
	if err := os.WriteFile(file, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := lab.CreateMachine(t.Context(), provider.CreateMachineRequest{ClientToken: "m",
		Name: "db9", Image: "trixie"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := apptest.Settings(t, t.TempDir(), map[string]any{"provider": "ec2",
		"ec2_region": ec2lab.Region, "ec2_endpoint": server.URL, "attest": "ec2",
		"attest_accounts": []string{ec2lab.Account}, "attest_certificates": file})
	p := &plane{t: t, Plane: apptest.Start(t, stillWorld(t).Process(), cfg)}

	stranger := cpv1.NewEnrollmentServiceClient(p.Dial(&identity.Static{
		Roots: p.credentials().Roots}))
	ask := func(server string, signed []byte) error {
		_, agent := p.newKey()
		_, mariadb := p.newKey()
		_, err := stranger.Enroll(t.Context(), &cpv1.EnrollRequest{Server: server,
			AgentCsr: agent, MariadbCsr: mariadb,
			Proof: &cpv1.EnrollRequest_Ec2Identity{Ec2Identity: signed}})
		return err
	}
	signed := imds(t, endpoint)
	refused(t, ask("db9", signed), errs.Unavailable, errorsv1.Reason_REASON_ATTESTATION_INVALID)
	id := strings.Replace(m.ID, "i-", "i-0ec2a", 1)
	operator := cpv1.NewEnrollmentServiceClient(p.Dial(apptest.Operator(t, p.Dir)))
	named, err := operator.CreateJoinToken(t.Context(), &cpv1.CreateJoinTokenRequest{
		Server: "servers/db9", Machine: id})
	if err != nil || !strings.HasSuffix(named.GetJoinCommand(), " --attest ec2") {
		t.Fatalf("%v %v", named, err)
	}
	spoilt := append([]byte("AAAA"), signed...)
	refused(t, ask("db9", spoilt), errs.PermissionDenied,
		errorsv1.Reason_REASON_ATTESTATION_INVALID)
	if err := ask("db9", signed); err != nil {
		t.Fatal(err)
	}
	refused(t, ask("db9", signed), errs.PermissionDenied, errorsv1.Reason_REASON_ATTESTATION_USED)
	list, err := operator.ListJoinTokens(t.Context(), &cpv1.ListJoinTokensRequest{})
	if err != nil || len(list.GetJoinTokens()) != 1 ||
		list.GetJoinTokens()[0].GetMachine() != id ||
		list.GetJoinTokens()[0].GetState() != cpv1.JoinToken_STATE_USED {
		t.Errorf("on record is %v %v", list, err)
	}
}

// imds is what the metadata service answers the machine of this test.
func imds(t *testing.T, endpoint *ec2lab.Server) []byte {
	t.Helper()
	service := httptest.NewServer(endpoint.MetadataService())
	defer service.Close()
	call := func(method, path, header, value string) []byte {
		req, err := http.NewRequestWithContext(t.Context(), method, service.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(header, value)
		answer, err := service.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %v", path, answer.Status, err)
		}
		return body
	}
	session := call(http.MethodPut, "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds",
		"60")
	return call(http.MethodGet, "/latest/dynamic/instance-identity/rsa2048",
		"X-aws-ec2-metadata-token", string(session))
}
