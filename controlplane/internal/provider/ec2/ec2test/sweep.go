package ec2test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/loop"
)

const (
	fleetTag = "understudy:fleet"
	// fleetPrefix is how the fleets of tests are named: all that they have is removed.
	fleetPrefix = "understudy-test"
	sweepLimit  = 30 * time.Minute
)

// CheckFleet refuses a fleet that may be somebody's.
func CheckFleet(fleet string) error {
	if strings.HasPrefix(fleet, fleetPrefix) {
		return nil
	}
	return fmt.Errorf("fleet %q does not begin with %q: the test removes all that its fleet has",
		fleet, fleetPrefix)
}

// Cloud is what a sweep needs of a provider.
type Cloud interface {
	provider.Machines
	provider.Volumes
	provider.Snapshots
}

// Sweep removes all machines, volumes and snapshots that carry the tag of the test's fleet, and
// waits until nothing is left. It says what it removes.
func Sweep(ctx context.Context, p Cloud, fleet string, poll time.Duration,
	say func(format string, args ...any)) error {
	if err := CheckFleet(fleet); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sweepLimit)
	defer cancel()
	for told := map[string]bool{}; ; {
		left, err := sweepOnce(ctx, p, provider.Filter{
			Tags: map[string]string{fleetTag: fleet}}.All())
		if _, wait := provider.RetryAfter(err); err != nil && !wait {
			return err
		}
		if err == nil && len(left) == 0 {
			return nil
		}
		for _, id := range left {
			if !told[id] {
				say("removing %s of fleet %s", id, fleet)
			}
			told[id] = true
		}
		if ended := loop.Pause(ctx, poll); ended != nil {
			return errors.Join(ended, err, fmt.Errorf("left are %s", strings.Join(left, ", ")))
		}
	}
}

// sweepOnce removes what can be removed now, and gives all that was there.
func sweepOnce(ctx context.Context, p Cloud, these provider.Filter) (left []string, err error) {
	machines, err := p.ListMachines(ctx, these)
	if err != nil {
		return nil, err
	}
	volumes, err := p.ListVolumes(ctx, these)
	if err != nil {
		return nil, err
	}
	snapshots, err := p.ListSnapshots(ctx, these)
	if err != nil {
		return nil, err
	}
	for _, m := range machines {
		if m.State == provider.MachineTerminated {
			continue
		}
		left = append(left, m.ID)
		if m.State != provider.MachineStopping {
			err = errors.Join(err, unlessGone(p.TerminateMachine(ctx, m.ID)))
		}
	}
	gone := []provider.VolumeState{provider.VolumeDeleted, provider.VolumeDeleting}
	for _, v := range volumes {
		if slices.Contains(gone, v.State) {
			continue
		}
		left = append(left, v.ID)
		if v.MachineID == "" {
			err = errors.Join(err, unlessGone(p.DeleteVolume(ctx, v.ID)))
		}
	}
	for _, s := range snapshots {
		left = append(left, s.ID)
		err = errors.Join(err, unlessGone(p.DeleteSnapshot(ctx, s.ID)))
	}
	return left, err
}

// unlessGone passes over what is gone, or goes only after something else.
func unlessGone(err error) error {
	for _, passes := range []error{provider.ErrNotFound, provider.ErrInUse,
		provider.ErrIncorrectState} {
		if errors.Is(err, passes) {
			return nil
		}
	}
	return err
}
