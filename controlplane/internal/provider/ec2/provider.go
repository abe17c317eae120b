package ec2

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Provider works in one region of one account.
type Provider struct {
	*account
	*pacer
	letters   letters
	elsewhere elsewhere
}

// account is what EC2 has, as far as it was read. It changes nothing, and keeps nothing that
// another process would miss.
type account struct {
	cfg Config
	api api
	new *recent

	mu    sync.Mutex
	suits *types.InstanceTypeInfo // the type of instance; nil: not yet read
	zones []string
}

var (
	_ provider.Provider = (*Provider)(nil)
	_ provider.Sealer   = (*Provider)(nil)
	_ provider.Regional = (*Provider)(nil)
	_ provider.Late     = (*Provider)(nil)
)

// New reads the AWS configuration; it makes no call. ErrInvalid.
func New(ctx context.Context, cfg Config) (*Provider, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	client, err := cfg.client(ctx)
	if err != nil {
		return nil, err
	}
	cfg.Region = client.Options().Region
	return newProvider(cfg, client), nil
}

// Region is where it works.
func (p *Provider) Region() string { return p.cfg.Region }

func newProvider(cfg Config, calls api) *Provider {
	a := &account{cfg: cfg, api: calls, new: newRecent(cfg.Consistency, cfg.Now)}
	return &Provider{account: a, pacer: &pacer{account: a}}
}

// ShowsWithin implements provider.Late.
func (p *Provider) ShowsWithin() time.Duration { return p.cfg.Consistency }

// SnapshotsInEveryZone implements provider.Regional: EC2 keeps snapshots in a region, not in a
// zone.
func (p *Provider) SnapshotsInEveryZone() bool { return true }

// Name is "ec2".
func (p *Provider) Name() string { return "ec2" }

// SetTags adds tags to an instance, volume or snapshot.
func (p *Provider) SetTags(ctx context.Context, id string, tags map[string]string) error {
	if err := checkID(id, "i", "vol", "snap"); err != nil {
		return err
	}
	if err := provider.ValidateTags(tags); err != nil {
		return err
	}
	return p.until(ctx, "CreateTags", id, func() error {
		_, err := p.api.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{id},
			Tags: toTags(tags)})
		return err
	})
}

var idPattern = regexp.MustCompile(`^(i|vol|snap|ami)-([0-9a-f]{8}|[0-9a-f]{17})$`)

// checkID keeps what cannot be an ID away from EC2. ErrNotFound.
func checkID(id string, kinds ...string) error {
	kind, _, _ := strings.Cut(id, "-")
	if !idPattern.MatchString(id) || !slices.Contains(kinds, kind) {
		return provider.Errorf(provider.ErrNotFound, "",
			"%.40q not found: that is not an ID of EC2", id)
	}
	return nil
}

// zone is the one asked for, or the first.
func (a *account) zone(ctx context.Context, asked string) (string, error) {
	zones, err := a.allZones(ctx)
	if err != nil {
		return "", err
	}
	if asked == "" {
		return zones[0], nil
	}
	if !slices.Contains(zones, asked) {
		return "", provider.Errorf(provider.ErrInvalid, "", "zone %.70q is none of %v", asked,
			zones)
	}
	return asked, nil
}

func (a *account) allZones(ctx context.Context) ([]string, error) {
	if len(a.cfg.Zones) > 0 {
		return a.cfg.Zones, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.zones) > 0 {
		return a.zones, nil
	}
	out, err := a.api.DescribeAvailabilityZones(ctx,
		&ec2.DescribeAvailabilityZonesInput{Filters: []types.Filter{
			filter("zone-type", "availability-zone"), filter("state", "available")}})
	if err != nil {
		return nil, refused(err, "DescribeAvailabilityZones", "")
	}
	var zones []string
	for _, z := range out.AvailabilityZones {
		zones = append(zones, aws.ToString(z.ZoneName))
	}
	slices.Sort(zones)
	if len(zones) == 0 {
		return nil, provider.Errorf(provider.ErrIncorrectState, "",
			"EC2 shows no availability zone in this region: choose another")
	}
	a.zones = zones
	return zones, nil
}

func byCreation[T any](all []T, key func(T) (time.Time, string)) []T {
	slices.SortFunc(all, func(a, b T) int {
		atA, idA := key(a)
		atB, idB := key(b)
		if c := atA.Compare(atB); c != 0 {
			return c
		}
		return strings.Compare(idA, idB)
	})
	return all
}
