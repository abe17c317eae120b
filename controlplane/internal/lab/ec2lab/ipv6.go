package ec2lab

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// withoutIPv4 takes an instance's IPv4 address away if the subnet of its zone has none.
func (s *Server) withoutIPv4(zone string, shown *types.Instance) {
	if !slices.Contains(s.currentBehaviour().Launches.IPv6Only, zone) {
		return
	}
	shown.PrivateIpAddress, shown.Ipv6Address = nil, aws.String("2001:db8::10")
	for i := range shown.NetworkInterfaces {
		shown.NetworkInterfaces[i].PrivateIpAddress = nil
	}
}
