package ec2

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

const (
	defaultInstanceType = "t3.large"
	defaultVolumeType   = "gp3"
	standardCredits     = "standard"
	defaultConsistency  = 90 * time.Second
	callLimit           = 20 * time.Second
	sdkAttempts         = 4
	sdkBackoff          = 2 * time.Second
)

// Config says where in EC2 to work and what machines and volumes are like. Credentials come by the
// SDK's own chain: environment, shared files, web identity, instance role.
type Config struct {
	// Region may be empty: what the SDK finds in environment and shared files.
	Region string
	// Endpoint replaces EC2's own address; for the lab.
	Endpoint string
	// Fleet is the value of the tag understudy:fleet: it is put on all that is made, and narrows
	// every list; empty: no such tag, and lists show all that the account has.
	Fleet string
	// Zones are the availability zones to use, the first being the default; empty: all of the
	// region.
	Zones []string
	// Subnets are the subnets of machines by zone. When there are any, their zones are all that is
	// used.
	Subnets map[string]string
	// DefaultVPC lets machines without Subnets be made in the default VPC, whose subnets give each
	// one a public address. Without both no machine is made.
	DefaultVPC bool
	// SecurityGroups are IDs; empty: the VPC's default group.
	SecurityGroups []string
	// InstanceType is what machines are; default t3.large.
	InstanceType string
	// CPUCredits is "standard" or "unlimited", for instance types that earn CPU credits; default
	// standard, which costs no more than the type does.
	CPUCredits string
	// InstanceProfile is the name of the machines' IAM instance profile; default none.
	InstanceProfile string
	// VolumeType is that of volumes for which none is asked; default gp3.
	VolumeType string
	// IOPS and Throughput (MiB/s) are asked for when not 0 and the volume's type takes them.
	IOPS, Throughput int32
	// Encrypt encrypts all volumes that are made, those of snapshots and of machines included.
	// Without it EC2 encrypts copies of what is encrypted.
	Encrypt bool
	// KMSKey is a key's ID, ARN or alias; empty: that of the snapshot or the image if it is
	// encrypted, or else the account's default one. It needs Encrypt.
	KMSKey string
	// InitializationRate is how fast a volume is filled from its snapshot, 100 to 300 MiB/s,
	// charged extra; 0: on first read.
	InitializationRate int32
	// SealMetadata turns the metadata service off once the agent has enrolled. cloud-init then
	// trusts what it kept of the first boot, so no AMI may be made of such a machine
	// without `cloud-init clean`.
	SealMetadata bool
	// Consistency is how long EC2 may not know what it has made; default 90 s.
	Consistency time.Duration
	// Log gets what was retried; default none.
	Log *slog.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() (Config, error) {
	fill(&c.InstanceType, defaultInstanceType)
	fill(&c.VolumeType, defaultVolumeType)
	fill(&c.Consistency, defaultConsistency)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if !knownType(c.VolumeType) {
		return c, provider.Errorf(provider.ErrInvalid, "", "volume type %.40q is not one of EC2's",
			c.VolumeType)
	}
	if r := c.InitializationRate; r != 0 && (r < 100 || r > 300) {
		return c, provider.Errorf(provider.ErrInvalid, "",
			"initialization rate %d is not between 100 and 300 MiB/s", r)
	}
	if c.KMSKey != "" && !c.Encrypt {
		return c, provider.Errorf(provider.ErrInvalid, "", "a key is given, and volumes are not "+
			"encrypted: give --ec2-encrypt with --ec2-kms-key")
	}
	fill(&c.CPUCredits, standardCredits)
	if !slices.Contains([]string{standardCredits, "unlimited"}, c.CPUCredits) {
		return c, provider.Errorf(provider.ErrInvalid, "",
			"CPU credits %.40q must be one of standard, unlimited", c.CPUCredits)
	}
	if c.SealMetadata && c.InstanceProfile != "" {
		return c, provider.Errorf(provider.ErrInvalid, "", "an instance profile's credentials "+
			"come from the metadata service: leave out the profile or the sealing of that service")
	}
	return c.withZones()
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// client makes the SDK's client with the chain of credentials.
func (c Config) client(ctx context.Context) (*ec2.Client, error) {
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(callLimit)),
		config.WithRetryer(func() aws.Retryer { return standardRetryer() }),
	}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("cannot load the AWS configuration: %w", err)
	}
	if loaded.Region == "" {
		return nil, provider.Errorf(provider.ErrInvalid, "",
			"no region is set: give one to the provider, or set AWS_REGION")
	}
	return ec2.NewFromConfig(loaded, func(o *ec2.Options) {
		if c.Endpoint != "" {
			o.BaseEndpoint = &c.Endpoint
		}
	}), nil
}

// standardRetryer repeats a call that may be repeated a few times, quickly: whoever called has a
// back-off of its own. A zone that is full stays so for longer, although EC2 answers with a 500.
func standardRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts,
			o.MaxBackoff = sdkAttempts, sdkBackoff
		o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(
			func(err error) aws.Ternary {
				switch {
				case slices.Contains(noCapacity, codeOf(err)):
					return aws.FalseTernary
				case misdated(err):
					return aws.TrueTernary
				}
				return aws.UnknownTernary
			})}, o.Retryables...)
	})
}

// unrepeated is for a call whose caller cannot wait: what EC2 refuses is refused, unless it did not
// believe the date, which the SDK has corrected by then.
func unrepeated(o *ec2.Options) {
	o.Retryer = retry.NewStandard(func(s *retry.StandardOptions) {
		s.MaxAttempts, s.MaxBackoff = 2, firstPause
		s.Retryables = []retry.IsErrorRetryable{retry.IsErrorRetryableFunc(
			func(err error) aws.Ternary { return aws.BoolTernary(misdated(err)) })}
	})
}

// once is for calls that have no token: they are repeated only when EC2 says that it did nothing,
// for it was asked too often or did not believe the date.
func once(o *ec2.Options) {
	o.Retryer = retry.NewStandard(func(s *retry.StandardOptions) {
		s.MaxAttempts, s.MaxBackoff = sdkAttempts, sdkBackoff
		s.Retryables = []retry.IsErrorRetryable{retry.IsErrorRetryableFunc(
			func(err error) aws.Ternary {
				return aws.BoolTernary(throttling[codeOf(err)] > 0 || misdated(err))
			})}
	})
}
