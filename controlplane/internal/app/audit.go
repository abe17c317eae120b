package app

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/trail"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
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

func (a *App) openAudit(ctx context.Context) error {
	// beside the authority's key: control planes on one store share both, and backups have both
	path := a.cfg.path("ca", "audit.key")
	key, err := trail.OpenKey(path)
	if err != nil {
		return err
	}
	if err := sameAuditKey(ctx, a.st, key, path); err != nil {
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

// sameAuditKey refuses a key that is not the one of the control planes that share the store: each
// would find the records of the other forged.
func sameAuditKey(ctx context.Context, st *store.Store, key audit.Key, path string) error {
	settled, err := pinned(ctx, st, "audit_key", key.ID())
	if err != nil || settled == key.ID() {
		return err
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_STORE_MISMATCH,
		fmt.Sprintf("cannot use the key of the audit in %s: its id is %s, and the records in the "+
			"store are sealed with the key with id %s", path, key.ID(), settled),
		errs.WithHint("replace "+path+" by that file of another control plane on the store, or of "+
			"a backup; docs/audit.md says what to do when it is lost"))
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
