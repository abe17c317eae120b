package ec2

import (
	"context"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Check makes each call as a dry run, with the inputs and the tags that jobs give it, and names
// those that the credentials do not allow, and what else is missing. A call that changes what is
// there is tried on an object of the fleet, for conditions on tags hold of no other. While the
// fleet has none it cannot be tried.
func (p *Provider) Check(ctx context.Context) error {
	t := &tryout{p: p}
	if err := t.all(ctx); err != nil {
		return err
	}
	if len(t.untried) > 0 {
		p.cfg.Log.Info("permissions cannot be tried while the fleet has no such object", "actions",
			strings.Join(t.untried, ", "))
	}
	if p.cfg.Encrypt {
		p.cfg.Log.Info("EC2 tries permissions on keys only when it uses them", "key",
			p.cfg.KMSKey, "actions", strings.Join(keyActions, ", ")+", "+grantAction)
	}
	missing := slices.Compact(t.forbidden)
	if len(t.denied) > 0 {
		missing = append(missing, "permissions are missing: allow "+strings.Join(t.denied, ", ")+
			" to the control plane (docs/ec2.md has the whole policy)")
	} else {
		missing = slices.Concat(missing, t.refused, missingThings(ctx, p))
	}
	if len(missing) > 0 {
		return provider.Errorf(provider.ErrIncorrectState, "", "provider ec2 cannot work here: %s",
			strings.Join(missing, "; "))
	}
	return nil
}

func missingThings(ctx context.Context, p *Provider) []string {
	var missing []string
	if _, err := p.zone(ctx, ""); err != nil {
		missing = append(missing, err.Error())
	}
	if err := p.cfg.placed(); err != nil {
		missing = append(missing, err.Error())
	}
	if _, err := p.suitable(ctx); err != nil {
		missing = append(missing, err.Error())
	}
	images, err := p.Images(ctx)
	switch {
	case err != nil:
		missing = append(missing, err.Error())
	case len(images) == 0:
		missing = append(missing, "no AMI of this account carries the tag "+tagImage+
			": tag one with the name that jobs shall call it by")
	}
	for _, i := range images {
		if i.Problem != "" {
			missing = append(missing, i.Problem)
		}
	}
	return slices.Compact(missing)
}
