package ec2

import (
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// withZones takes the zones from the subnets when there are any: in another zone a machine would
// land in the default VPC. ErrInvalid.
func (c Config) withZones() (Config, error) {
	switch {
	case len(c.Subnets) == 0:
		return c, nil
	case c.DefaultVPC:
		return c, provider.Errorf(provider.ErrInvalid, "",
			"subnets and the default VPC exclude each other: give one of them")
	case len(c.Zones) == 0:
		c.Zones = slices.Sorted(maps.Keys(c.Subnets))
		return c, nil
	}
	var without []string
	for _, zone := range c.Zones {
		if c.Subnets[zone] == "" {
			without = append(without, zone)
		}
	}
	if len(without) > 0 {
		return c, provider.Errorf(provider.ErrInvalid, "", "zones %s have no subnet: a machine "+
			"there would land in the default VPC; give each zone one, or leave the zone out",
			strings.Join(without, ", "))
	}
	return c, nil
}

// placed says whether machines have a place, of the operator's choice. ErrInvalid.
func (c Config) placed() error {
	if len(c.Subnets) > 0 || c.DefaultVPC {
		return nil
	}
	return provider.Errorf(provider.ErrInvalid, "", "no subnet is given, and in the default VPC a "+
		"machine gets a public address: give --ec2-subnets ZONE=SUBNET, or --ec2-default-vpc if "+
		"that is what you want")
}

// place puts the machine into the zone's subnet, or into the default VPC's.
func (c Config) place(input *ec2.RunInstancesInput, zone string) {
	if subnet := c.Subnets[zone]; subnet != "" {
		input.SubnetId, input.Placement = aws.String(subnet), nil
		return
	}
	input.SubnetId, input.Placement = nil, &types.Placement{AvailabilityZone: aws.String(zone)}
}
