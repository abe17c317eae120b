package app

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/provider/ec2"
)

// amazon is the provider ec2 with a default image.
type amazon struct {
	*ec2.Provider
	image string
}

func newEC2(ctx context.Context, cfg Config, log *slog.Logger) (*amazon, error) {
	subnets, err := cfg.subnets()
	if err != nil {
		return nil, err
	}
	p, err := ec2.New(ctx, ec2.Config{
		Region: cfg.EC2Region, Endpoint: cfg.EC2Endpoint, Fleet: cfg.Fleet, Zones: cfg.EC2Zones,
		Subnets: subnets, DefaultVPC: cfg.EC2DefaultVPC, CPUCredits: cfg.EC2CPUCredits,
		SecurityGroups: cfg.EC2SecurityGroups,
		InstanceType:   cfg.EC2InstanceType, InstanceProfile: cfg.EC2InstanceProfile,
		SealMetadata: cfg.EC2SealMetadata,
		VolumeType:   cfg.EC2VolumeType, IOPS: cfg.EC2VolumeIOPS,
		Throughput: cfg.EC2VolumeThroughput,
		Encrypt:    cfg.EC2Encrypt, KMSKey: cfg.EC2KMSKey,
		InitializationRate: cfg.EC2InitializationRate, Consistency: cfg.EC2Consistency, Log: log,
	})
	if err != nil {
		return nil, err
	}
	return &amazon{p, cfg.Image}, nil
}

// subnets are the subnets by zone.
func (c Config) subnets() (map[string]string, error) {
	byZone := map[string]string{}
	for _, pair := range c.EC2Subnets {
		zone, subnet, ok := strings.Cut(pair, "=")
		if !ok || zone == "" || subnet == "" {
			return nil, fmt.Errorf("%q is not zone=subnet", pair)
		}
		byZone[zone] = subnet
	}
	return byZone, nil
}

// EC2Policy is the IAM policy that a control plane of that fleet needs for the provider ec2 in a
// region of that partition, with customer managed keys and the role of an instance profile where
// such are used.
func EC2Policy(fleet, region string, keys []string, role string) ([]byte, error) {
	return ec2.Policy(ec2.Rights{Fleet: fleet, Region: region, Keys: keys, Role: role})
}

// HostAddress is empty: machines reach the control plane at one of the addresses that it serves on.
func (a *amazon) HostAddress(context.Context) (string, error) { return "", nil }

// Images lists the images, the default one first.
func (a *amazon) Images(ctx context.Context) ([]provider.Image, error) {
	images, err := a.Provider.Images(ctx)
	return provider.DefaultFirst(images, a.image), err
}

// Problems are what is missing for the jobs to work, one line each.
func (a *amazon) Problems(ctx context.Context) ([]string, error) {
	return provider.Problems(a.Check(ctx)), nil
}
