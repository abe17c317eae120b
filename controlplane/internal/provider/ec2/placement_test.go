package ec2

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// A machine gets a public address only when the operator chose the default VPC.
func TestMachinesStayOutOfTheDefaultVPC(t *testing.T) {
	t.Parallel()
	zones := ec2lab.Zones()
	second := map[string]string{zones[1]: ec2lab.Subnet(zones[1])}
	for name, test := range map[string]struct {
		cfg             Config
		zone            string
		refused, subnet string
		public          bool
	}{
		"no zone asked":         {Config{Subnets: second}, "", "", second[zones[1]], false},
		"zone with a subnet":    {Config{Subnets: second}, zones[1], "", second[zones[1]], false},
		"zone without a subnet": {Config{Subnets: second}, zones[0], zones[0], "", false},
		"default VPC":           {Config{DefaultVPC: true}, zones[0], "", "", true},
	} {
		f := newFake(t, test.cfg, ec2lab.Behaviour{})
		req := newMachine
		req.Zone = test.zone
		m, err := f.CreateMachine(t.Context(), req)
		if test.refused != "" {
			if !errors.Is(err, provider.ErrInvalid) ||
				!strings.Contains(err.Error(), test.refused) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		public, subnet, _ := f.server.Launched(m.ID)
		if err != nil || (public != "") != test.public || subnet != test.subnet {
			t.Errorf("%s: public address %q, subnet %q: %v", name, public, subnet, err)
		}
	}
}

func TestMachineWithoutAPlaceIsRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t, Config{}, ec2lab.Behaviour{})
	f.cfg.Subnets, f.cfg.Zones = nil, nil
	_, err := f.CreateMachine(t.Context(), newMachine)
	if !errors.Is(err, provider.ErrInvalid) || !strings.Contains(err.Error(), "--ec2-subnets") {
		t.Errorf("refused with %v", err)
	}
	if err := f.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "--ec2-subnets") {
		t.Errorf("the check says %v", err)
	}
}

func TestZonesHaveASubnetEach(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"zone without":    {Zones: []string{"a", "b"}, Subnets: map[string]string{"a": "subnet-1"}},
		"default VPC too": {DefaultVPC: true, Subnets: map[string]string{"a": "subnet-1"}},
		"credits":         {CPUCredits: "many"},
	} {
		if _, err := cfg.withDefaults(); !errors.Is(err, provider.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCPUCreditsCostNothingUnasked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ kind, asked, want string }{
		{"t3.large", "", "standard"}, {"t3.large", "unlimited", "unlimited"},
		{"t4g.large", "", "standard"}, {"m7i.large", "", ""},
	} {
		like := ec2lab.Images{}
		if test.kind == "t4g.large" {
			like.Architecture = types.ArchitectureValuesArm64
		}
		f := newFake(t, Config{InstanceType: test.kind, CPUCredits: test.asked},
			ec2lab.Behaviour{Images: like})
		m, err := f.CreateMachine(t.Context(), newMachine)
		_, _, credits := f.server.Launched(m.ID)
		if err != nil || credits != test.want {
			t.Errorf("%+v: credits %q: %v", test, credits, err)
		}
	}
}

func TestImageOfAnotherArchitectureIsRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t, Config{InstanceType: "m7g.large"}, ec2lab.Behaviour{})
	_, err := f.CreateMachine(t.Context(), newMachine)
	if !errors.Is(err, provider.ErrInvalid) || !strings.Contains(err.Error(), "arm64") {
		t.Errorf("refused with %v", err)
	}
}
