package ec2lab

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Quota is what the account may have.
type Quota struct {
	// Volumes is how many volumes it may have; 0: any number. At the quota EC2 refuses CreateVolume
	// before it looks at the client token, also when that token's volume is there. That is inferred
	// from reports of the EBS CSI driver's users; EC2's documentation has no word on the order.
	Volumes int
}

// withinQuota refuses a volume that is one too many.
func (s *Server) withinQuota(ctx context.Context) error {
	limit := s.currentBehaviour().Quota.Volumes
	if limit == 0 {
		return nil
	}
	volumes, err := s.cfg.Lab.ListVolumes(ctx, provider.Filter{})
	if err == nil && len(volumes) >= limit {
		err = refuse("VolumeLimitExceeded", "You have exceeded your maximum volume limit.")
	}
	return err
}
