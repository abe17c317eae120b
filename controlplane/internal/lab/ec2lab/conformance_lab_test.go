//go:build lab

package ec2lab_test

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/provider/ec2/ec2test"
)

// TestConformance holds the lab's EC2 to what Amazon's is held to by `make test-aws`.
func TestConformance(t *testing.T) { conforms(t, "usual", usualBehaviour()) }

func TestLongConformanceOnAGoodDay(t *testing.T) { conforms(t, "good", ec2lab.Behaviour{}) }

func conforms(t *testing.T, name string, behaviour ec2lab.Behaviour) {
	t.Helper()
	fleet := "understudy-test-" + name
	behaviour.Access = documented(t, fleet)
	l := newLab(t, name, behaviour)
	cfg := l.config()
	cfg.Fleet = fleet
	ec2test.Conformance(t, ec2test.Target{Config: cfg, Image: "test-masked",
		OtherZone: ec2lab.Zones()[1], Limit: 90 * time.Second, Poll: 20 * time.Millisecond,
		Run: func(ctx context.Context, m provider.Machine, argv ...string) (string, error) {
			return l.nspawn.Exec(ctx, labMachine(m.ID), nspawn.Command{Argv: argv})
		}})
}

// usualBehaviour are EC2 on a bad day, without what no caller can repair.
func usualBehaviour() ec2lab.Behaviour {
	return ec2lab.Behaviour{Consistency: 400 * time.Millisecond,
		DeviceDelay: 300 * time.Millisecond,
		ModifyTime:  300 * time.Millisecond, PageSize: 2,
		Fault: ec2lab.Random(1, ec2lab.Odds{Throttle: 5})}
}
