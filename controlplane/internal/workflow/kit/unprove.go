package kit

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// unprove takes back that the server which a job makes is READY, and verified, when a request makes
// the job run to that proof again: a step before it may change what was proved. A step that is run
// alone leads to no proof.
func (k *Kit) unprove(kind Kind) func(context.Context, Records, job.Job) error {
	return func(ctx context.Context, rec Records, j job.Job) error {
		args, err := kind.Decode(j.Args)
		if err != nil {
			return err
		}
		name, due := makes(args), dueToProof(kind, j)
		if name == "" || j.Mode != job.Forward || due == 0 {
			return nil
		}
		srv, err := rec.Servers.Get(ctx, name)
		if Missing(err) || err == nil && (srv.Job != j.ID ||
			!srv.InService() && srv.State != inventory.ServerFailed) {
			return nil
		}
		if err != nil {
			return err
		}
		reason := "job " + j.ID + " goes on with it"
		if err := srv.SetState(inventory.ServerProvisioning, reason); err != nil {
			return err
		}
		if due > 1 {
			srv.TakeBackVerified()
		}
		if err := rec.Servers.Update(ctx, &srv); err != nil {
			return err
		}
		return rec.Events.Add(ctx, inventory.Event{Actor: "controlplane", Action: "server.update",
			Subject: srv.Subject(), Job: j.ID,
			Message: Sprintf("%s is %s: %s", srv.Name, srv.State, reason)})
	}
}

// dueToProof counts the steps that are to be done up to the one that proves the server READY.
func dueToProof(kind Kind, j job.Job) (due int) {
	for _, s := range kind.Steps {
		row, there := j.Step(s.Name)
		pending := there && !row.State.Done()
		if pending {
			due++
		}
		if s.Proves && pending {
			return due
		}
	}
	return 0
}
