package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// CreateMachine runs an instance.
func (p *Provider) CreateMachine(ctx context.Context,
	req provider.CreateMachineRequest) (provider.Machine, error) {
	var none provider.Machine
	if err := req.Validate(); err != nil {
		return none, err
	}
	input, zones, err := p.launchInput(ctx, &req)
	if err != nil {
		return none, err
	}
	out, err := p.launch(ctx, input, zones)
	if codeOf(err) == tokenMismatch {
		req.ClientToken = aws.ToString(input.ClientToken)
		return p.madeBefore(ctx, req, err)
	}
	if mayHaveMade(err) {
		p.new.noteMaybe("i", req.Tags)
	}
	if err != nil {
		return none, refused(err, "RunInstances", "")
	}
	if len(out.Instances) != 1 {
		return none, provider.Errorf(provider.ErrIncorrectState, "",
			"EC2 answered RunInstances with %d instances", len(out.Instances))
	}
	m := toMachine(out.Instances[0])
	p.new.note(m.ID, m.Tags)
	return m, nil
}

// madeBefore finds the instance that the token made. EC2 compares the join file too, of which a
// retry may bring a newer one; whether the rest is the same is written on the instance.
func (p *Provider) madeBefore(ctx context.Context, req provider.CreateMachineRequest,
	mismatch error) (provider.Machine, error) {
	reused := provider.Because(mismatch, provider.ErrTokenReused, "",
		"client token %s made a machine with other parameters: use a new token", req.ClientToken)
	list, err := find(ctx, p.new, "i", provider.Filter{Tags: req.Tags}, instanceTags,
		func() ([]types.Instance, error) {
			return p.describeInstances(ctx,
				&ec2.DescribeInstancesInput{Filters: []types.Filter{filter("client-token",
					req.ClientToken)}})
		})
	if err != nil {
		return provider.Machine{}, err
	}
	for _, i := range list {
		if fromTags(i.Tags)[tagRequest] == requestHash(req) {
			return toMachine(i), nil
		}
	}
	if len(list) > 0 {
		return provider.Machine{}, reused
	}
	return provider.Machine{}, p.new.spent("machine", req.ClientToken, mismatch)
}

func (p *Provider) runInput(req provider.CreateMachineRequest,
	image types.Image, ofVolumes map[string]string) *ec2.RunInstancesInput {
	name := map[string]string{"Name": req.Name}
	own := map[string]string{tagHost: req.Name, tagImage: req.Image, tagRequest: requestHash(req)}
	token := map[string]string{tagToken: req.ClientToken}
	input := &ec2.RunInstancesInput{
		ClientToken: aws.String(req.ClientToken), ImageId: image.ImageId,
		InstanceType: types.InstanceType(p.cfg.InstanceType),
		MinCount:     aws.Int32(1), MaxCount: aws.Int32(1), SecurityGroupIds: p.cfg.SecurityGroups,
		BlockDeviceMappings: p.cfg.goingWithMachine(image),
		MetadataOptions: &types.InstanceMetadataOptionsRequest{
			HttpEndpoint:            types.InstanceMetadataEndpointStateEnabled,
			HttpTokens:              types.HttpTokensStateRequired,
			HttpPutResponseHopLimit: aws.Int32(1),
			InstanceMetadataTags:    types.InstanceMetadataTagsStateDisabled,
		},
		InstanceInitiatedShutdownBehavior: types.ShutdownBehaviorStop,
		TagSpecifications: append(specification(types.ResourceTypeInstance,
			with(token, with(own, with(p.tagged(req.Tags), name)))),
			specification(types.ResourceTypeVolume,
				with(token, with(ofVolumes, with(p.tagged(req.Tags), name))))...),
	}
	if p.cfg.InstanceProfile != "" {
		input.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String(
			p.cfg.InstanceProfile)}
	}
	return input
}

// goingWithMachine says of each volume in the image that it is deleted with its instance, and
// encrypted if volumes are to be, whatever the image says.
func (c Config) goingWithMachine(image types.Image) []types.BlockDeviceMapping {
	var mappings []types.BlockDeviceMapping
	for _, m := range image.BlockDeviceMappings {
		if m.Ebs != nil {
			encrypted, key := c.encryption()
			mappings = append(mappings, types.BlockDeviceMapping{DeviceName: m.DeviceName,
				Ebs: &types.EbsBlockDevice{DeleteOnTermination: aws.Bool(true),
					Encrypted: encrypted, KmsKeyId: key}})
		}
	}
	return mappings
}

func requestHash(req provider.CreateMachineRequest) string {
	data, _ := json.Marshal([]any{req.Name, req.Image, req.Zone, req.Tags}) // plain strings
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// GetMachine reads one instance.
func (p *Provider) GetMachine(ctx context.Context, id string) (provider.Machine, error) {
	i, err := p.instance(ctx, id)
	if err != nil {
		return provider.Machine{}, err
	}
	return toMachine(i), nil
}

func (a *account) instance(ctx context.Context, id string) (types.Instance, error) {
	var found []types.Instance
	if err := checkID(id, "i"); err != nil {
		return types.Instance{}, err
	}
	err := a.new.until(ctx, "DescribeInstances", id, func() error {
		var err error
		found, err = a.describeInstances(ctx,
			&ec2.DescribeInstancesInput{InstanceIds: []string{id}})
		if err == nil && len(found) != 1 {
			err = provider.Errorf(provider.ErrNotFound, id, "machine %s not found", id)
		}
		return err
	})
	if err != nil {
		return types.Instance{}, err
	}
	return found[0], nil
}

// ListMachines lists instances, oldest first. Those with certain tags are without what somebody
// else gave them to.
func (p *Provider) ListMachines(ctx context.Context,
	f provider.Filter) ([]provider.Machine, error) {
	list, err := find(ctx, p.new, "i", f, instanceTags, func() ([]types.Instance, error) {
		return p.describeInstances(ctx, &ec2.DescribeInstancesInput{Filters: p.filters(f),
			MaxResults: aws.Int32(pageSize)})
	})
	if err != nil {
		return nil, err
	}
	var machines []provider.Machine
	for _, i := range list {
		if m := toMachine(i); f.Matches(m.Tags) && (len(f.Tags) == 0 || !instanceCopied(i)) {
			machines = append(machines, m)
		}
	}
	return byCreation(machines, func(m provider.Machine) (time.Time, string) {
		return m.CreatedAt,
			m.ID
	}), nil
}

const pageSize = 500

func instanceTags(i types.Instance) (string, []types.Tag) {
	return aws.ToString(i.InstanceId),
		i.Tags
}

func (a *account) describeInstances(ctx context.Context,
	in *ec2.DescribeInstancesInput, how ...option) ([]types.Instance, error) {
	var all []types.Instance
	pages := ec2.NewDescribeInstancesPaginator(a.api, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, how...)
		if err != nil {
			return nil, refused(err, "DescribeInstances", "")
		}
		for _, r := range page.Reservations {
			all = append(all, r.Instances...)
		}
	}
	return all, nil
}
