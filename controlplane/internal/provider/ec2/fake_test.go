package ec2

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// fake is an endpoint of the lab in front of a lab in memory, and a provider that calls it without
// a network.
type fake struct {
	*Provider
	server *ec2lab.Server
	memory *ec2lab.Memory

	behaviour ec2lab.Behaviour
}

// image is what the fake's machines are made from.
const image = "mariadb"

// fleet is the fake's provider's, unless the test names another.
const fleet = "default"

// newFake evaluates the policy of the page, unless the test brings one.
func newFake(t *testing.T, cfg Config, behaviour ec2lab.Behaviour) *fake {
	t.Helper()
	if behaviour.Access.Policy == "" {
		behaviour.Access.Policy = policyOf(t, ec2lab.Region)
	}
	memory := ec2lab.NewMemory(provider.Image{Name: image, Ready: true,
		DefaultVolume: &provider.DefaultVolume{SizeBytes: gib, Filesystem: "ext4"}})
	server, err := ec2lab.New(ec2lab.Config{Lab: memory, Behaviour: behaviour})
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{server: server, memory: memory, behaviour: behaviour}
	f.Provider = f.another(t, cfg)
	return f
}

// another is a provider of another process, which remembers nothing.
func (f *fake) another(t *testing.T, cfg Config) *Provider {
	t.Helper()
	fill(&cfg.Fleet, fleet)
	if len(cfg.Subnets) == 0 && !cfg.DefaultVPC {
		cfg.Subnets = ec2lab.Subnets()
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return newProvider(cfg, clientOf(f.server.Direct()))
}

func policyOf(t *testing.T, region string) string {
	t.Helper()
	return policyFor(t, Rights{Fleet: fleet, Region: region})
}

func policyFor(t *testing.T, r Rights) string {
	t.Helper()
	policy, err := Policy(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(policy)
}

func clientOf(direct *http.Client) *ec2.Client {
	return ec2.New(ec2.Options{Region: ec2lab.Region,
		BaseEndpoint: aws.String("http://ec2.lab"), HTTPClient: direct, Retryer: standardRetryer(),
		Credentials: credentials.NewStaticCredentialsProvider(ec2lab.AccessKey, "secret", "")})
}

// newVolume makes a volume with these tags, and waits until EC2 shows it.
func (f *fake) newVolume(t *testing.T, token string, tags map[string]string) string {
	t.Helper()
	v, err := f.CreateVolume(t.Context(), provider.CreateVolumeRequest{ClientToken: token,
		SizeBytes: gib, Tags: tags})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Hour)
	return v.ID
}

// The endpoint behaves in memory as it does before hosts, in a bubble where time costs nothing.
func TestFakeInMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{Consistency: 3 * time.Second})
		m, err := f.CreateMachine(t.Context(), provider.CreateMachineRequest{ClientToken: "m",
			Name: "db1", Image: image})
		if err != nil {
			t.Fatal(err)
		}
		id := f.newVolume(t, "v", map[string]string{"of": "db1"})
		if _, err := f.AttachVolume(t.Context(), id, m.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		list, err := f.ListVolumes(t.Context(), provider.Filter{MachineID: m.ID})
		if err != nil || len(list) != 2 || !list[0].Default || list[1].ID != id {
			t.Errorf("the machine has %+v, %v", list, err)
		}
		f.server.SetBehaviour(ec2lab.Behaviour{
			Fault: func(string) ec2lab.Fault { return ec2lab.Fault{LoseAnswer: true} }})
		if _, err := f.GetMachine(t.Context(), m.ID); !lost(err) {
			t.Errorf("an answer that was lost: %v", err)
		}
	})
}
