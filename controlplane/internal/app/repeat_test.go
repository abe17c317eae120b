package app_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// A client whose answer was lost asks again for what is new.
func TestWhatMakesSomethingTakesARequestID(t *testing.T) {
	t.Parallel()
	takes := 0
	for method, desc := range methods() {
		name := string(desc.Name())
		field := desc.Input().Fields().ByName("request_id")
		if field != nil {
			takes++
		}
		if field == nil && strings.HasPrefix(name, "Create") {
			t.Errorf("%s takes no request id", method)
		}
	}
	if takes < 5 {
		t.Errorf("%d methods take a request id", takes)
	}
}

// TestRepeatIsAnsweredWhateverChangedMeanwhile repeats requests once another server has the name.
func TestRepeatIsAnsweredWhateverChangedMeanwhile(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.addServer("db1", "")
	p.addServer("db2", "db1")
	verification := &cpv1.VerifyReplicaRequest{Name: "servers/db2", RequestId: uuid.NewString()}
	verify := func() (string, error) {
		answer, err := p.servers().VerifyReplica(t.Context(), verification)
		return answer.GetJob().GetName(), err
	}
	read, err := p.servers().GetServer(t.Context(),
		&cpv1.GetServerRequest{Name: "servers/db2"})
	if err != nil {
		t.Fatal(err)
	}
	deletion := &cpv1.DeleteServerRequest{Name: "servers/db2", Etag: read.GetServer().GetEtag(),
		RequestId: uuid.NewString()}
	remove := func() (string, error) {
		answer, err := p.servers().DeleteServer(t.Context(), deletion)
		return answer.GetJob().GetName(), err
	}
	asks := []func() (string, error){verify, remove}
	names := make([]string, len(asks))
	for i, ask := range asks {
		var err error
		if names[i], err = ask(); err != nil {
			t.Fatal(err)
		}
		if _, err := p.jobs().CancelJob(t.Context(),
			&cpv1.CancelJobRequest{Name: names[i]}); err != nil {
			t.Fatal(err)
		}
		p.until(names[i], func(j *cpv1.Job) bool {
			return j.GetState() == cpv1.Job_STATE_CANCELLED || j.GetState() == cpv1.Job_STATE_FAILED
		})
	}
	p.write(func(ctx context.Context, tx *store.Tx) error {
		srv, err := tx.Servers().Get(ctx, "db2")
		srv.Role, srv.Primary, srv.Job = inventory.RolePrimary, "", "another"
		if err != nil {
			return err
		}
		return tx.Servers().Update(ctx, &srv)
	})
	for i, ask := range asks {
		if name, err := ask(); err != nil || name != names[i] {
			t.Errorf("repeat %d: job %q, want %q: %v", i, name, names[i], err)
		}
	}
}
