// Package purge deletes binary logs that nothing needs any more.
package purge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// KindPurgeBinlogs deletes binary logs.
const KindPurgeBinlogs = "purge_binlogs"

// Args are what a purge is asked for with.
type Args struct {
	Server  string   `json:"server"`
	Ignored []string `json:"ignored,omitempty"` // replicas whose needs do not count
}

// Kind is purge_binlogs.
func (Args) Kind() string { return KindPurgeBinlogs }

// Resolve refuses a replica to ignore that is none of the server's.
func (a Args) Resolve(ctx context.Context, k *kit.Kit, _ string) (kit.Args, error) {
	var wrong errs.Fields
	wrong.Require("name", a.Server != "", "a server is needed")
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	err := k.Store.Read(ctx, func(ctx context.Context, rec kit.Records) error {
		if _, err := rec.Servers.Get(ctx, a.Server); err != nil {
			return err
		}
		replicas, err := rec.Servers.ReplicasOf(ctx, a.Server)
		if err != nil {
			return err
		}
		wrong = errs.Fields{}
		for _, name := range a.Ignored {
			wrong.Require("ignore_replicas", slices.Contains(replicas, name),
				fmt.Sprintf("%s is not a replica of %s", name, a.Server))
		}
		return wrong.Err()
	})
	return a, err
}

// Check refuses a server that was never READY.
func (a Args) Check(ctx context.Context, k *kit.Kit) error {
	return k.Store.Read(ctx, func(ctx context.Context, rec kit.Records) error {
		srv, err := rec.Servers.Get(ctx, a.Server)
		if err == nil && !srv.InService() {
			return kit.Refuse(errorsv1.Reason_REASON_WRONG_ROLE,
				kit.Hint("wait until it is READY", kit.GetServer(srv.Name)),
				"%s is %s", srv.Name, srv.State)
		}
		return err
	})
}

// Title is what the job is for.
func (a Args) Title() string { return "purge binary logs of " + a.Server }

// Subjects are the server.
func (a Args) Subjects() []string { return []string{inventory.ServerSubject(a.Server)} }

// Binlogs is the kind.
func Binlogs() kit.Kind {
	return kit.Kind{Name: KindPurgeBinlogs, Title: "purge binary logs", Decode: kit.Decode[Args],
		Steps: []kit.Step{{Name: "purge", Title: "binary logs that nothing needs are deleted",
			Run: kit.Typed(run), DryRun: kit.DryTyped(dry), Attempt: 10 * time.Minute,
			Timeout: time.Hour, Attempts: 3}}}
}

// run plans again in each attempt: what a lost call has deleted is not there any more.
func run(ctx context.Context, c *kit.Call, a Args) (kit.Outcome, error) {
	node, plan, err := observe(ctx, c, a)
	if err != nil {
		return kit.Outcome{}, err
	}
	if plan.Files == 0 {
		return kit.NotNeeded("nothing can be deleted: %s", kept(plan))
	}
	c.Found("%s", kept(plan))
	purged, err := node.Agent.PurgeBinlogs(ctx, plan.To, c.FencingToken())
	if err != nil {
		return kit.Outcome{}, err
	}
	c.Changed("deleted %d binary logs of %s (%s), up to %s; those that are left begin at %s",
		len(purged), a.Server, kit.Size(plan.Bytes), plan.To, plan.Start)
	return kit.Done(nil)
}

func dry(ctx context.Context, c *kit.Call, _ *kit.Preview, a Args) ([]string, error) {
	_, plan, err := observe(ctx, c, a)
	if err != nil {
		return nil, err
	}
	if plan.Files == 0 {
		return nil, kit.Skip("nothing can be deleted: %s", kept(plan))
	}
	c.Found("%s", kept(plan))
	return []string{fmt.Sprintf("delete %d binary logs of %s (%s), up to %s; those that are left "+
		"begin at %s, and a snapshot from before cannot become a replica any more", plan.Files,
		a.Server, kit.Size(plan.Bytes), plan.To, plan.Start)}, nil
}

func kept(plan replication.Purge) string {
	return strings.TrimSpace(plan.To + " stays: " + plan.Kept)
}

// observe finds what can be deleted now. It refuses when it is not known what a replica has
// applied.
func observe(ctx context.Context, c *kit.Call, a Args) (*kit.Node, replication.Purge, error) {
	node, err := c.Serving(ctx, a.Server)
	if err != nil {
		return nil, replication.Purge{}, err
	}
	var replicas []string
	err = c.Store.Read(ctx, func(ctx context.Context, rec kit.Records) (err error) {
		replicas, err = rec.Servers.ReplicasOf(ctx, a.Server)
		return err
	})
	if err != nil {
		return nil, replication.Purge{}, err
	}
	var readers []replication.Reader
	ids := map[uint32]bool{}
	for _, name := range replicas {
		srv, err := c.Server(ctx, name)
		if err != nil {
			return nil, replication.Purge{}, err
		}
		ids[srv.ServerID] = true
		if slices.Contains(a.Ignored, name) {
			c.Found("%s is ignored: it must be made again when it has not applied what is deleted",
				name)
			continue
		}
		applied, err := appliedBy(ctx, c, a.Server, name)
		if err != nil {
			return nil, replication.Purge{}, err
		}
		readers = append(readers, replication.Reader{Name: name, Applied: applied})
	}
	for _, reader := range node.Status.Replicas {
		if !ids[reader.ServerID] {
			c.Found("server_id %d at %s reads the binary logs and is not on record: MariaDB keeps "+
				"the file that it reads now, and no earlier one", reader.ServerID, reader.Host)
		}
	}
	logs, err := node.Agent.ListBinlogs(ctx)
	if err != nil {
		return nil, replication.Purge{}, err
	}
	plan, err := replication.PlanPurge(logs, readers)
	return node, plan, err
}

// appliedBy is what a replica has applied. A job that makes it reserves what it needs, but before
// its replication is configured nobody knows what that is.
func appliedBy(ctx context.Context, c *kit.Call, server, name string) (string, error) {
	node, err := c.Node(ctx, name)
	why := ""
	switch {
	case err != nil:
		why = err.Error()
	case !node.Status.Answers:
		why = "MariaDB does not answer: " + node.Status.DownReason
	case len(node.Status.Connections) == 0 || node.Status.SlavePos == "":
		why = "replication is not configured"
	default:
		return node.Status.SlavePos, nil
	}
	return "", kit.Refuse(errorsv1.Reason_REASON_BINLOGS_NEEDED,
		kit.Hint("repair or delete the replica, or purge without regard to it; it must be made "+
			"again then", errs.Call("DeleteServer", "name", inventory.ServerSubject(name)),
			errs.Call("PurgeBinlogs", "name", inventory.ServerSubject(server), "ignore_replicas",
				inventory.ServerSubject(name))),
		"cannot purge the binary logs of %s: it is not known what %s has applied: %s", server, name,
		why)
}
