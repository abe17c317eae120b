package ec2

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// suitable refuses a type of instance that does not show its volumes as NVMe devices: a Xen one
// gives them no serial, so nothing on the host would prove which volume a device is. ErrInvalid.
func (a *account) suitable(ctx context.Context) (types.InstanceTypeInfo, error) {
	var none types.InstanceTypeInfo
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.suits != nil {
		return *a.suits, nil
	}
	asked := types.InstanceType(a.cfg.InstanceType)
	out, err := a.api.DescribeInstanceTypes(ctx,
		&ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{asked}})
	if err != nil {
		return none, refused(err, "DescribeInstanceTypes", "")
	}
	if len(out.InstanceTypes) != 1 || out.InstanceTypes[0].EbsInfo == nil {
		return none, provider.Errorf(provider.ErrInvalid, "",
			"EC2 does not say how instances of type %.40q show their volumes", asked)
	}
	if out.InstanceTypes[0].EbsInfo.NvmeSupport != types.EbsNvmeSupportRequired {
		return none, provider.Errorf(provider.ErrInvalid, "",
			"instances of type %s do not show their volumes as NVMe devices, so no host could "+
				"prove which volume a device is: choose a Nitro type (--ec2-instance-type)", asked)
	}
	a.suits = &out.InstanceTypes[0]
	return *a.suits, nil
}

// runsOn refuses an image of another architecture than the type of instance. ErrInvalid.
func runsOn(kind types.InstanceTypeInfo, name string, image types.Image) error {
	if kind.ProcessorInfo == nil || image.Architecture == "" ||
		slices.Contains(kind.ProcessorInfo.SupportedArchitectures,
			types.ArchitectureType(image.Architecture)) {
		return nil
	}
	return provider.Errorf(provider.ErrInvalid, "", "image %.70q (%s) is of the architecture %s, "+
		"and instances of type %s are of %v: choose a type (--ec2-instance-type) or an image that "+
		"goes with the other", name, aws.ToString(image.ImageId), image.Architecture,
		kind.InstanceType, kind.ProcessorInfo.SupportedArchitectures)
}
