package ec2

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
)

// A machine in a subnet without IPv4 addresses has none, and says why.
func TestSubnetOfIPv6AloneIsNamed(t *testing.T) {
	t.Parallel()
	zones := ec2lab.Zones()
	f := newFake(t, Config{}, ec2lab.Behaviour{
		Launches: ec2lab.Launches{IPv6Only: zones[:1]}})
	m, err := f.CreateMachine(t.Context(), newMachine)
	if err != nil || m.Address != "" || !strings.Contains(m.Reason, ec2lab.Subnet(zones[0])) ||
		!strings.Contains(m.Reason, "IPv4") {
		t.Errorf("%+v, %v", m, err)
	}
	other := newMachine
	other.ClientToken, other.Zone = "other", zones[1]
	if m, err := f.CreateMachine(t.Context(), other); err != nil || m.Address == "" ||
		m.Reason != "" {
		t.Errorf("in a subnet with IPv4: %+v, %v", m, err)
	}
}
