package ec2test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider/ec2"
)

// The variables of a test against Amazon itself. docs/first-day.md has them.
const (
	varRegion  = "AWS_TEST_REGION"
	varSubnets = "AWS_TEST_SUBNETS"
	varGroups  = "AWS_TEST_SECURITY_GROUPS"
	varImage   = "AWS_TEST_IMAGE"
	varSSH     = "AWS_TEST_SSH"
	varAddress = "AWS_TEST_ADDRESS"
	varType    = "AWS_TEST_INSTANCE_TYPE"
	varFleet   = "AWS_TEST_FLEET"
	varKey     = "AWS_TEST_KMS_KEY"
)

// addressMark is where the command of varSSH has the machine's address.
const addressMark = "{address}"

// Settings say where at Amazon to test.
type Settings struct {
	// Target has no Run yet.
	Target
	// SSH is a command that runs what follows it as root on the machine at addressMark.
	SSH []string
	// Address is this host's address, at which machines reach a control plane on it.
	Address string
	// Subnets are those of the target, as they were given.
	Subnets string
}

// amazonPoll is how often Amazon is looked at.
const amazonPoll = 3 * time.Second

// ReadFleet reads the variables that say what to sweep.
func ReadFleet(get func(name string) string) (ec2.Config, error) {
	cfg := ec2.Config{Region: get(varRegion), Fleet: cmp.Or(get(varFleet), fleetPrefix)}
	var missing error
	if cfg.Region == "" {
		missing = fmt.Errorf("%s is needed: the region, such as eu-central-1", varRegion)
	}
	return cfg, errors.Join(missing, CheckFleet(cfg.Fleet))
}

// ReadSettings reads the variables. The error names all that is missing, and what it is for.
func ReadSettings(get func(name string) string) (Settings, error) {
	s := Settings{SSH: strings.Fields(get(varSSH)), Address: get(varAddress),
		Subnets: get(varSubnets),
		Target:  Target{Image: get(varImage), Limit: 20 * time.Minute, Poll: amazonPoll}}
	cfg, err := ReadFleet(get)
	wrong := []error{err}
	cfg.InstanceType, cfg.Subnets = get(varType), map[string]string{}
	cfg.KMSKey, cfg.Encrypt = get(varKey), get(varKey) != ""
	s.Config = cfg
	need := func(ok bool, name, what string) {
		if !ok {
			wrong = append(wrong, fmt.Errorf("%s is needed: %s", name, what))
		}
	}
	need(s.Image != "", varImage, "the value of the tag understudy:image of your AMI, which has a "+
		"data volume beside its root, MariaDB, and an agent of this build")
	need(s.Address != "", varAddress, "the private address of this host, which is in the same VPC")
	need(slices.ContainsFunc(s.SSH, func(word string) bool {
		return strings.Contains(word, addressMark)
	}), varSSH, "how this host runs commands as root on a machine of that AMI, such as ssh -i KEY "+
		"-o StrictHostKeyChecking=accept-new admin@"+addressMark+" sudo")
	for pair := range strings.SplitSeq(s.Subnets, ",") {
		if zone, subnet, ok := strings.Cut(pair, "="); ok && zone != "" && subnet != "" {
			s.Config.Subnets[zone] = subnet
		}
	}
	need(s.Subnets != "" && len(s.Config.Subnets) == len(strings.Split(s.Subnets, ",")), varSubnets,
		"ZONE=SUBNET, two with a comma to test a second zone")
	if groups := get(varGroups); groups != "" {
		s.Config.SecurityGroups = strings.Split(groups, ",")
	}
	need(len(s.Config.SecurityGroups) > 0, varGroups, "the IDs of security groups that let this "+
		"host reach the machines on the ports 22 and 7443, and them this host on 7440")
	if zones := slices.Sorted(maps.Keys(s.Config.Subnets)); len(zones) > 1 {
		s.OtherZone = zones[1]
	}
	if err := errors.Join(wrong...); err != nil {
		return s, fmt.Errorf("cannot test against Amazon:\n%w", err)
	}
	return s, nil
}
