package host

import (
	"context"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// ComparesWith refuses the host of a replica that is to be made, whose agent and that of its
// primary are of two versions: no verification would come to an end, nor a continuous one later.
func ComparesWith(ctx context.Context, primary kit.Agent, of, replica string,
	its kit.HostInfo) error {
	return sameProofs(ctx, inventory.VerifyFull, primary, of, replica, its)
}

func sameProofs(ctx context.Context, level inventory.VerifyLevel, primary kit.Agent, of,
	replica string, its kit.HostInfo) error {
	theirs, err := primary.Host(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask which version the agent of %s has: %w", of, err)
	}
	return kit.SameProofs(level, of, replica, theirs, its)
}

// Compares refuses a pair of which one agent is of another version than a verification to the level
// needs.
func (p *Pair) Compares(ctx context.Context, level inventory.VerifyLevel) error {
	its, err := p.Agent.Host(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask which version the agent of %s has: %w", p.Srv.Name, err)
	}
	return sameProofs(ctx, level, p.Primary.Agent, p.Primary.Name, p.Srv.Name, its)
}
