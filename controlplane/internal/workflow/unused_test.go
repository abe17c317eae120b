package workflow_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// TestWhatAJobUsesIsNotDeleted asks for the deletion of what an unfinished job uses: the request is
// refused, and so is a deletion that was asked for before.
func TestWhatAJobUsesIsNotDeleted(t *testing.T) {
	t.Parallel()
	type asked = workflowtest.Asked
	cases := map[string]struct {
		user, victim func(taken string) asked
	}{
		"create_replica: its primary": {
			func(string) asked { return replica{Server: "db3", Source: "db1"} },
			func(string) asked { return deletion{Server: "db1"} }},
		"create_replica: its snapshot": {
			func(taken string) asked { return replica{Server: "db3", Snapshot: taken} },
			func(taken string) asked { return snapshotDeletion{Snapshot: taken} }},
		"create_replica: the snapshot's server": {
			func(taken string) asked { return replica{Server: "db3", Snapshot: taken} },
			func(string) asked { return deletion{Server: "db1"} }},
		"take_snapshot: its server": {
			func(string) asked { return snapshotOf{Source: "db2"} },
			func(string) asked { return deletion{Server: "db2"} }},
		"verify_replica: its replica": {
			func(string) asked { return verification{Replica: "db2"} },
			func(string) asked { return deletion{Server: "db2"} }},
		"rotate_credentials: its replica": {
			func(string) asked { return workflowtest.Rotation{Replica: "db2"} },
			func(string) asked { return deletion{Server: "db2"} }},
	}
	for name, c := range cases {
		bubbles(t, name, func(t *testing.T) {
			w, first := lab(t)
			if strings.HasPrefix(name, "take") || strings.HasPrefix(name, "verify") ||
				strings.HasPrefix(name, "rotate") {
				first.Must(replica{Server: "db2", Source: "db1"})
			}
			taken := snapshotIn(t, first.Must(snapshotOf{Source: "db1"}))
			first.Stop()
			before := w.Cancelled(c.victim(taken))

			p := w.Start()
			reached, goOn := make(chan struct{}), make(chan struct{})
			p.Behind["Status"] = func() { close(reached); <-goOn } // in the midst of a step
			p.Run()
			user := p.Ask(c.user(taken))
			<-reached
			err := c.victim(taken).Args().Check(t.Context(), p.Flow)
			if errs.ReasonOf(err) != errorsv1.Reason_REASON_IN_USE ||
				!strings.Contains(err.Error(), user.ID) {
				t.Errorf("it may be deleted: %v", err)
			}
			if _, err := p.Engine.Retry(t.Context(), before.ID, asTester); err == nil {
				if j := p.End(before.ID); j.State != job.Failed ||
					j.Steps[0].Failure.Reason != "IN_USE" {
					t.Errorf("the deletion is %s\n%s", j.State, states(j))
				}
			} else if errs.KindOf(err) != errs.Aborted { // the user holds the server's name
				t.Error(err)
			}
			close(goOn)
			succeeded(t, p.End(user.ID))
		})
	}
}
