package app

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/loop"
)

// pruning removes what is kept for long enough.
var pruning = loop.Spec{Name: "prune the records", Every: time.Hour, Limit: 10 * time.Minute,
	LateAfter: 4 * time.Hour, Means: "the store grows"}

// announcing tells agents where this control plane is.
var announcing = loop.Spec{Name: "announce the addresses", Every: 5 * time.Second,
	Limit: 2 * time.Minute, LateAfter: 10 * time.Minute,
	Means: "agents do not learn the address of this control plane"}

// endingAccess ends what replicas whose agents were revoked read of their primaries.
var endingAccess = loop.Spec{Name: "end the access of revoked replicas", Every: time.Second,
	Limit: time.Minute, LateAfter: 10 * time.Minute,
	Means: "replicas whose agents were revoked go on reading their primaries"}

// endAccess drops a replica's account on its primary, and ends its sessions there.
func (a *App) endAccess(ctx context.Context, primary, replica string) error {
	agent, err := a.agents.Agent(ctx, primary)
	if err != nil {
		return err
	}
	_, err = agent.DeleteReplicationAccount(ctx, kit.Account(replica), kit.AnyHost,
		kit.FencingToken{})
	return err
}

func (a *App) prune(ctx context.Context) error {
	pruned, err := a.st.Prune(ctx, store.Retention{Jobs: a.cfg.RetainJobs,
		Events: a.cfg.RetainEvents, Identities: a.cfg.RetainIdentities})
	if pruned != (store.Pruned{}) {
		a.log.Info("pruned the records", "jobs", pruned.Jobs, "records", pruned.Records, "events",
			pruned.Events, "certificates", pruned.Certificates, "tokens", pruned.Tokens,
			"grants", pruned.Grants, "requests", pruned.Requests)
	}
	if err != nil || a.cfg.RetainAudit == 0 {
		return err
	}
	a.trail.Say()
	removed, err := a.trail.Prune(ctx, time.Now().Add(-a.cfg.RetainAudit))
	if removed > 0 {
		a.log.Info("pruned the audit", "records", removed)
	}
	return err
}
