package ec2

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// suitable refuses a type of instance that does not show its volumes as NVMe devices: a Xen one
// gives them no serial, so nothing on the host would prove which volume a device is. ErrInvalid.
func (a *account) suitable(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.suits {
		return nil
	}
	asked := types.InstanceType(a.cfg.InstanceType)
	out, err := a.api.DescribeInstanceTypes(ctx,
		&ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{asked}})
	if err != nil {
		return refused(err, "DescribeInstanceTypes", "")
	}
	if len(out.InstanceTypes) != 1 || out.InstanceTypes[0].EbsInfo == nil {
		return provider.Errorf(provider.ErrInvalid, "",
			"EC2 does not say how instances of type %.40q show their volumes", asked)
	}
	if out.InstanceTypes[0].EbsInfo.NvmeSupport != types.EbsNvmeSupportRequired {
		return provider.Errorf(provider.ErrInvalid, "",
			"instances of type %s do not show their volumes as NVMe devices, so no host could "+
				"prove which volume a device is: choose a Nitro type (--ec2-instance-type)", asked)
	}
	a.suits = true
	return nil
}
