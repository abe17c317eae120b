package ec2lab

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Launches is how launches go wrong beyond what one call can say.
type Launches struct {
	// Full are the zones without capacity for any type. Another zone, another type or a later time
	// may have some.
	// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/troubleshooting-launch.html
	Full []string
	// Ends is the reason, such as Client.InternalError, by which EC2 ends each instance that it has
	// accepted, with no call of anybody: a key that cannot be used, a quota of volumes, its own
	// fault. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html and
	// https://repost.aws/knowledge-center/ec2-instance-launch-terminate
	Ends string
	// TokensEnd lets a client token that made an instance be refused once that is terminated, with
	// IdempotentInstanceTerminated, instead of showing the instance.
	// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
	TokensEnd bool
	// IPv6Only are the zones whose subnet gives IPv6 addresses alone.
	// https://docs.aws.amazon.com/vpc/latest/userguide/configure-subnets.html
	IPv6Only []string
}

// instanceOf is the instance that a client token made; empty: none. The same token with other
// parameters is refused, unless they differ by the zone alone.
func (s *Server) instanceOf(ctx context.Context, in *ec2.RunInstancesInput) (string, error) {
	token := aws.ToString(in.ClientToken)
	for id, known := range s.state.Instances {
		if token == "" || known.Token != token {
			continue
		}
		if s.currentBehaviour().Launches.TokensEnd {
			lab, _ := labID("i", id) // it is one of the lab's
			m, err := s.cfg.Lab.GetMachine(ctx, lab)
			if err != nil || m.State == provider.MachineTerminated {
				return "", refuse("IdempotentInstanceTerminated",
					"The instance '%s' that the client token made is terminated", id)
			}
		}
		if known.Hash != hashOf(in) {
			return "", refuse("IdempotentParameterMismatch",
				"The client token '%s' was used with other parameters", token)
		}
		return id, nil
	}
	return "", nil
}

// hasCapacity refuses an instance in a zone that is full.
func (s *Server) hasCapacity(zone string, kind types.InstanceType) error {
	if !slices.Contains(s.currentBehaviour().Launches.Full, zone) {
		return nil
	}
	return refuse("InsufficientInstanceCapacity", "We currently do not have sufficient %s "+
		"capacity in the Availability Zone you requested (%s).", kind, zone)
}

// endLaunch ends an instance that was just accepted, if that is how launches go.
func (s *Server) endLaunch(ctx context.Context, m provider.Machine,
	out *ec2.RunInstancesOutput) error {
	code := s.currentBehaviour().Launches.Ends
	usable, err := s.mayUse(s.state.instance(ec2ID(m.ID)).KMSKey, kmsCopy)
	if err != nil {
		return err
	}
	if !usable {
		code = "Client.InternalError"
	}
	if code == "" {
		return nil
	}
	s.state.instance(ec2ID(m.ID)).Ended = code
	out.Instances[0].State = stateOf(provider.MachinePending)
	return s.cfg.Lab.TerminateMachine(ctx, m.ID)
}

// stateReason is why an instance is in its state; nil: no reason.
func stateReason(m provider.Machine, kept *instanceState) *types.StateReason {
	switch {
	case kept.Ended != "":
		return &types.StateReason{Code: aws.String(kept.Ended),
			Message: aws.String(kept.Ended + ": it ended while it was launched")}
	case m.Reason != "":
		return &types.StateReason{Code: aws.String("Client.Reason"), Message: aws.String(m.Reason)}
	case m.State == provider.MachineTerminated || m.State == provider.MachineStopped:
		return &types.StateReason{Code: aws.String("Client.UserInitiatedShutdown"),
			Message: aws.String("Client.UserInitiatedShutdown: User initiated shutdown")}
	}
	return nil
}
