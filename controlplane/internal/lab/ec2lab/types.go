package ec2lab

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// xenFamilies are those of the SDK's instance types that run on Xen. Source:
// https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-nitro-instances.html, what is not in it.
var xenFamilies = []string{"c1", "c3", "c4", "d2", "f1", "g2", "g3", "g3s", "h1", "i2", "i3", "m1",
	"m2", "m3", "m4", "p2", "p3", "r3", "r4", "t1", "t2", "x1", "x1e"}

// graviton are the families of ARM processors: a1, and those with a g after their generation.
// https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html
var graviton = regexp.MustCompile(`^(a1|[a-z]+\d+g[a-z]*)$`)

// describeInstanceTypes answers what is asked for by name; a real list has hundreds.
func (s *Server) describeInstanceTypes(_ context.Context,
	in *ec2.DescribeInstanceTypesInput) (*ec2.DescribeInstanceTypesOutput, error) {
	out := &ec2.DescribeInstanceTypesOutput{}
	for _, asked := range in.InstanceTypes {
		out.InstanceTypes = append(out.InstanceTypes, describedType(asked))
	}
	return out, nil
}

func describedType(asked types.InstanceType) types.InstanceTypeInfo {
	family, size, _ := strings.Cut(string(asked), ".")
	info := types.InstanceTypeInfo{InstanceType: asked,
		BareMetal: aws.Bool(strings.HasPrefix(size, "metal")),
		EbsInfo:   &types.EbsInfo{NvmeSupport: types.EbsNvmeSupportRequired}}
	if !*info.BareMetal {
		info.Hypervisor = types.InstanceTypeHypervisorNitro
	}
	// T types earn CPU credits; t1 does not.
	// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-performance-instances.html
	info.BurstablePerformanceSupported = aws.Bool(family != "t1" && strings.HasPrefix(family, "t"))
	info.ProcessorInfo = &types.ProcessorInfo{
		SupportedArchitectures: []types.ArchitectureType{types.ArchitectureTypeX8664}}
	if graviton.MatchString(family) {
		info.ProcessorInfo.SupportedArchitectures[0] = types.ArchitectureTypeArm64
	}
	if slices.Contains(xenFamilies, family) && !*info.BareMetal {
		info.Hypervisor, info.EbsInfo.NvmeSupport = types.InstanceTypeHypervisorXen,
			types.EbsNvmeSupportUnsupported
	}
	return info
}
