package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// noCapacity are the codes of a zone that is full, or whose subnet is. They have had no effect.
var noCapacity = []string{"InsufficientInstanceCapacity", "InsufficientHostCapacity",
	"InsufficientCapacity", "InsufficientFreeAddressesInSubnet"}

// notThere is the code of a zone that does not have the type of instance.
const notThere = "Unsupported"

// launchInput is the call that makes a machine, without its place, and the zones where it may be,
// the first of which becomes the request's.
func (p *Provider) launchInput(ctx context.Context,
	req *provider.CreateMachineRequest) (*ec2.RunInstancesInput, []string, error) {
	if err := p.cfg.placed(); err != nil {
		return nil, nil, err
	}
	kind, err := p.suitable(ctx)
	if err != nil {
		return nil, nil, err
	}
	image, err := p.image(ctx, req.Image)
	if err != nil {
		return nil, nil, err
	}
	if err := runsOn(kind, req.Image, image); err != nil {
		return nil, nil, err
	}
	data, err := dataVolume(req.Image, image)
	if err != nil {
		return nil, nil, err
	}
	zones, err := p.launchZones(ctx, *req)
	if err != nil {
		return nil, nil, err
	}
	req.Zone = zones[0]
	input := p.runInput(*req, image, ofMachine(image, req.Image, data))
	if aws.ToBool(kind.BurstablePerformanceSupported) {
		input.CreditSpecification = &types.CreditSpecificationRequest{
			CpuCredits: aws.String(p.cfg.CPUCredits)}
	}
	input.UserData, err = userData(req.Name, req.UserData, p.cfg.SealMetadata)
	return input, zones, err
}

// launchZones are the zones in which the machine may be made, the one that is asked for first.
func (p *Provider) launchZones(ctx context.Context,
	req provider.CreateMachineRequest) ([]string, error) {
	first, err := p.zone(ctx, req.Zone)
	if err != nil || !req.OtherZones {
		return []string{first}, err
	}
	all, err := p.allZones(ctx)
	if err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(slices.Clone(all), func(z string) bool { return z == first })
	return append([]string{first}, others...), nil
}

// launch runs the instance in the first of the zones that has room. Each zone has a client token of
// its own, made from the request's, so that a repeated launch finds what the earlier one made. It
// looks for that where it was made, or may have been: the zones before that one may have room by
// now, and know nothing of it.
func (p *Provider) launch(ctx context.Context, input *ec2.RunInstancesInput,
	zones []string) (*ec2.RunInstancesOutput, error) {
	token, asked := aws.ToString(input.ClientToken), zones[0]
	zones = p.elsewhere.first(token, zones)
	var full error
	for i, zone := range zones {
		p.cfg.place(input, zone)
		input.ClientToken = aws.String(token)
		if zone != asked {
			input.ClientToken = aws.String(tokenFor(token, zone))
		}
		out, err := p.api.RunInstances(ctx, input)
		if err == nil || mayHaveMade(err) {
			p.elsewhere.note(token, zone, p.cfg.Now())
		}
		if slices.Contains(noCapacity, codeOf(err)) {
			full = err
		} else if codeOf(err) != notThere {
			return out, err
		}
		switch last := i == len(zones)-1; {
		case last && full == nil:
			return nil, err
		case last:
			return nil, provider.Throttled(full, throttling[codeOf(full)], "EC2 has no capacity "+
				"for %s in %s: wait, ask for another zone, or choose another type of instance "+
				"(--ec2-instance-type): %w", input.InstanceType, strings.Join(zones, ", "), full)
		}
		p.cfg.Log.Warn("the zone takes no machine, the next one is tried", "zone", zone,
			"instance_type", input.InstanceType, "error", err)
	}
	return nil, provider.Errorf(provider.ErrInvalid, "", "there is no zone to make a machine in")
}

// elsewhere remembers for an hour in which zone a client token made a machine last, or may have.
type elsewhere struct {
	mu    sync.Mutex
	zones map[string]launched
}

type launched struct {
	zone string
	at   time.Time
}

func (e *elsewhere) note(token, zone string, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	maps.DeleteFunc(e.zones, func(_ string, l launched) bool { return now.Sub(l.at) > time.Hour })
	if e.zones == nil {
		e.zones = map[string]launched{}
	}
	e.zones[token] = launched{zone, now}
}

// first puts the zone first in which the token may have made a machine.
func (e *elsewhere) first(token string, zones []string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := slices.Index(zones, e.zones[token].zone)
	if at <= 0 {
		return zones
	}
	return slices.Concat(zones[at:at+1], zones[:at], zones[at+1:])
}

func tokenFor(token, zone string) string {
	sum := sha256.Sum256([]byte(token + " in " + zone))
	return hex.EncodeToString(sum[:])
}

// endings are the codes of a state that no call brought about, and what helps.
var endings = map[string]string{
	"Server.InsufficientInstanceCapacity": "the zone is full: try another zone or type of instance",
	"Server.InternalError":                "EC2 failed: have another made",
	"Client.InternalError": "most often the key of an encrypted volume cannot be used: see that " +
		"it is enabled, and allow " + strings.Join(keyActions, ", ") + " and " + grantAction +
		" on it to the control plane, as docs/ec2.md says",
	"Client.VolumeLimitExceeded": "ask AWS for a higher quota of volumes, or remove what is not " +
		"needed",
	"Client.InvalidSnapshot.NotFound": "a snapshot of the AMI is gone: make the AMI again",
}

// stateReason is why an instance is in its state, in words; failed says that EC2 itself brought it
// there.
func stateReason(r *types.StateReason) (words string, failed bool) {
	if r == nil {
		return "", false
	}
	words = aws.ToString(r.Message)
	hint, failed := endings[aws.ToString(r.Code)]
	if failed {
		words += " (" + hint + ")"
	}
	return words, failed
}
