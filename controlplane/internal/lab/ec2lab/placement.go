package ec2lab

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// publicAddress is what an instance gets that names no subnet: it lands in the default VPC, whose
// subnets give each instance a public address beside its private one.
// https://docs.aws.amazon.com/vpc/latest/userguide/default-vpc.html
func publicAddress(in *ec2.RunInstancesInput) string {
	if aws.ToString(in.SubnetId) != "" {
		return ""
	}
	return "203.0.113.1"
}

// creditsOf is how an instance is charged for CPU: t3 and later are unlimited unless the launch
// says otherwise, which costs extra for each vCPU hour above the baseline. AWSEC2/latest/UserGuide/
// burstable-performance-instances-unlimited-mode.html on docs.aws.amazon.com.
func creditsOf(in *ec2.RunInstancesInput) string {
	family, _, _ := strings.Cut(string(in.InstanceType), ".")
	switch {
	case in.CreditSpecification != nil:
		return aws.ToString(in.CreditSpecification.CpuCredits)
	case family != "t1" && family != "t2" && strings.HasPrefix(family, "t"):
		return "unlimited"
	}
	return ""
}

// Launched is how an instance was placed and is charged, for tests: its public address, its subnet
// and its CPU credits, each empty when it has none.
func (s *Server) Launched(id string) (public, subnet, credits string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.state.instance(id)
	return i.Public, i.Subnet, i.Credits
}
