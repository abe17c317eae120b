//go:build lab

package ec2lab_test

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
	"github.com/understudy-db/understudy/controlplane/internal/provider/providertest"
)

func TestConformance(t *testing.T) {
	for name, behaviour := range map[string]ec2lab.Behaviour{
		"good":  {},
		"usual": usualBehaviour(),
	} {
		t.Run(name, func(t *testing.T) {
			providertest.Run(t, func(t *testing.T) providertest.Subject {
				l := newLab(t, name, behaviour)
				return providertest.Subject{Provider: l.provider(t), Image: "test-masked",
					Unit: 1 << 30, OtherZone: ec2lab.Zones()[1],
					Run: func(ctx context.Context, machineID string, argv ...string) (string,
						error) {
						return l.nspawn.Exec(ctx, labMachine(machineID), nspawn.Command{Argv: argv})
					}}
			})
		})
	}
}

// usualBehaviour are EC2 on a bad day, without what no caller can repair.
func usualBehaviour() ec2lab.Behaviour {
	return ec2lab.Behaviour{Consistency: 400 * time.Millisecond,
		DeviceDelay: 300 * time.Millisecond,
		ModifyTime:  300 * time.Millisecond, PageSize: 2,
		Fault: ec2lab.Random(1, ec2lab.Odds{Throttle: 5})}
}
