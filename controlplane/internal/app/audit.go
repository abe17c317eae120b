package app

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/trail"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/audit"
)

// noting writes down beside the store how far the audit is.
var noting = loop.Spec{Name: "note the audit", Every: time.Minute, Limit: time.Minute,
	LateAfter: 10 * time.Minute, Means: "an end of the audit that is cut off is not found"}

// fetching brings the audits of agents here.
var fetching = loop.Spec{Name: "fetch the audits of agents", Every: 15 * time.Second,
	Limit: 5 * time.Minute, LateAfter: 15 * time.Minute,
	Means: "calls of agents are on record at their hosts alone, until they refuse changes"}

// endLimit is how long the last records of the audit may take.
const endLimit = 10 * time.Second

func (a *App) openAudit(context.Context) error {
	// beside the authority's key: control planes on one store share both, and backups have both
	key, err := trail.OpenKey(a.cfg.path("ca", "audit.key"))
	if err != nil {
		return err
	}
	a.trail, err = trail.New(trail.Config{Store: a.st, Key: key, Notes: a.cfg.path("audit.json"),
		Logger: a.log})
	if err != nil {
		return err
	}
	a.audit, err = audit.New(audit.Config{Sink: a.trail, Key: key, Logger: a.log})
	return err
}

// endAudit writes what is still to be written when no call is left.
func (a *App) endAudit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	a.audit.Flush(ctx)
	if err := a.trail.Note(ctx); err != nil {
		a.log.Warn("cannot note how far the audit is", "error", err)
	}
	a.trail.Say()
}
