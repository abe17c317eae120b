package app_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// want compares what a list lets through, whatever its order.
func want[R interface{ GetName() string }](t *testing.T, what string, list []R, err error,
	names ...string) {
	t.Helper()
	var got []string
	for _, r := range list {
		got = append(got, r.GetName()[strings.Index(r.GetName(), "/")+1:])
	}
	slices.Sort(got)
	slices.Sort(names)
	if err != nil || !slices.Equal(got, names) {
		t.Errorf("%s lists %v, want %v, %v", what, got, names, err)
	}
}

func TestServersAndSnapshotsNarrow(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.addServer("db1", "")
	p.addServer("db2", "db1")
	p.addServer("db3", "db1")
	p.write(func(ctx context.Context, tx *store.Tx) error {
		srv, err := tx.Servers().Get(ctx, "db3")
		if err != nil {
			return err
		}
		srv.State, srv.StateReason = inventory.ServerDegraded, "the IO thread stopped"
		if err := tx.Servers().Update(ctx, &srv); err != nil {
			return err
		}
		for i, state := range []inventory.SnapshotState{inventory.SnapshotReady,
			inventory.SnapshotFailed} {
			s := inventory.Snapshot{ID: fmt.Sprintf("snap-%d", i), Server: "db1", State: state,
				ProviderID: fmt.Sprintf("vs-%d", i)}
			if err := tx.Snapshots().Insert(ctx, &s); err != nil {
				return err
			}
		}
		return nil
	})
	for what, test := range map[string]struct {
		req   *cpv1.ListServersRequest
		names []string
	}{
		"no filter": {&cpv1.ListServersRequest{}, []string{"db1", "db2", "db3"}},
		"a role": {&cpv1.ListServersRequest{Role: cpv1.Server_ROLE_REPLICA},
			[]string{"db2", "db3"}},
		"states": {&cpv1.ListServersRequest{States: []cpv1.Server_State{
			cpv1.Server_STATE_DEGRADED, cpv1.Server_STATE_FAILED}}, []string{"db3"}},
		"text": {&cpv1.ListServersRequest{Text: "io THREAD"}, []string{"db3"}},
		"all of them": {&cpv1.ListServersRequest{Primary: "servers/db1",
			Role: cpv1.Server_ROLE_PRIMARY}, nil},
	} {
		answer, err := p.servers().ListServers(t.Context(), test.req)
		want(t, what, answer.GetServers(), err, test.names...)
	}
	now := timestamppb.Now()
	for what, test := range map[string]struct {
		req   *cpv1.ListSnapshotsRequest
		names []string
	}{
		"no filter": {&cpv1.ListSnapshotsRequest{}, []string{"snap-0"}},
		"a state": {&cpv1.ListSnapshotsRequest{States: []cpv1.Snapshot_State{
			cpv1.Snapshot_STATE_FAILED}}, []string{"snap-1"}},
		"text": {&cpv1.ListSnapshotsRequest{Text: "VS-0"}, []string{"snap-0"}},
		"before": {&cpv1.ListSnapshotsRequest{
			CreatedBefore: timestamppb.New(time.Unix(1, 0))}, nil},
		"after": {&cpv1.ListSnapshotsRequest{CreatedAfter: timestamppb.New(
			now.AsTime().Add(-time.Hour))}, []string{"snap-0"}},
	} {
		answer, err := p.snapshots().ListSnapshots(t.Context(), test.req)
		want(t, what, answer.GetSnapshots(), err, test.names...)
	}
}

// A kind of job and its value in the API have one name.
func TestEveryKindOfJobIsInTheAPI(t *testing.T) {
	t.Parallel()
	kinds, words := newPlane(t).Kinds(), enum.Words[cpv1.Job_Kind]()
	slices.Sort(kinds)
	slices.Sort(words)
	if !slices.Equal(kinds, words) {
		t.Errorf("jobs of the kinds %v are run, the API has %v", kinds, words)
	}
}

func TestJobsEventsAndAttemptsNarrow(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	began := timestamppb.Now()
	answer, err := p.servers().CreateServer(t.Context(),
		&cpv1.CreateServerRequest{Name: "servers/db1"})
	if err != nil {
		t.Fatal(err)
	}
	name := answer.GetJob().GetName()
	id := strings.TrimPrefix(name, "jobs/")
	p.until(name, inState(cpv1.Job_STATE_WAITING))
	hour := timestamppb.New(began.AsTime().Add(-time.Hour))
	for what, test := range map[string]struct {
		req  *cpv1.ListJobsRequest
		none bool
	}{
		"its kind": {req: &cpv1.ListJobsRequest{Kinds: []cpv1.Job_Kind{
			cpv1.Job_KIND_CREATE_PRIMARY, cpv1.Job_KIND_TAKE_SNAPSHOT}}},
		"another kind": {&cpv1.ListJobsRequest{Kinds: []cpv1.Job_Kind{
			cpv1.Job_KIND_TAKE_SNAPSHOT}}, true},
		"its state": {req: &cpv1.ListJobsRequest{States: []cpv1.Job_State{
			cpv1.Job_STATE_WAITING, cpv1.Job_STATE_RUNNING}}},
		"another state": {&cpv1.ListJobsRequest{States: []cpv1.Job_State{
			cpv1.Job_STATE_FAILED}}, true},
		"its text":     {req: &cpv1.ListJobsRequest{Text: "DB1"}},
		"another text": {&cpv1.ListJobsRequest{Text: "db%"}, true},
		"after":        {req: &cpv1.ListJobsRequest{CreatedAfter: hour}},
		"before":       {&cpv1.ListJobsRequest{CreatedBefore: hour}, true},
	} {
		list, err := p.jobs().ListJobs(t.Context(), test.req)
		if test.none {
			want(t, what, list.GetJobs(), err)
		} else {
			want(t, what, list.GetJobs(), err, id)
		}
	}
	for what, test := range map[string]struct {
		req  *cpv1.ListEventsRequest
		none bool
	}{
		"its action":     {req: &cpv1.ListEventsRequest{Action: "job.create"}},
		"another action": {&cpv1.ListEventsRequest{Action: "job.skip"}, true},
		"its actor": {req: &cpv1.ListEventsRequest{Subject: name,
			Actor: answer.GetJob().GetRequestedBy()}},
		"another actor": {&cpv1.ListEventsRequest{Actor: "jobs/none"}, true},
		"before":        {&cpv1.ListEventsRequest{Before: hour}, true},
		"another text":  {&cpv1.ListEventsRequest{Text: "no such words"}, true},
	} {
		list, err := p.jobs().ListEvents(t.Context(), test.req)
		if err != nil || test.none != (len(list.GetEvents()) == 0) {
			t.Errorf("%s lists %v, %v", what, list.GetEvents(), err)
		}
	}
	p.checkAttempts(name)
	_, err = p.jobs().ListJobs(t.Context(), &cpv1.ListJobsRequest{ActiveOnly: true,
		States: []cpv1.Job_State{cpv1.Job_STATE_FAILED}})
	refused(t, err, errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD)
}

// checkAttempts reads the attempts of a job whole, page by page and by step.
func (p *plane) checkAttempts(job string) {
	p.t.Helper()
	list := func(req *cpv1.ListAttemptsRequest) *cpv1.ListAttemptsResponse {
		req.Name = job
		answer, err := p.jobs().ListAttempts(p.t.Context(), req)
		if err != nil {
			p.t.Fatal(err)
		}
		return answer
	}
	all := list(&cpv1.ListAttemptsRequest{}).GetAttempts()
	if len(all) < 2 || all[0].GetState() != cpv1.Attempt_STATE_SUCCEEDED ||
		all[0].GetNumber() != 1 || all[0].GetEndTime() == nil || all[0].GetWorker() == "" {
		p.t.Fatalf("attempts %v", all)
	}
	first := list(&cpv1.ListAttemptsRequest{PageSize: 1})
	second := list(&cpv1.ListAttemptsRequest{PageSize: 1, PageToken: first.GetNextPageToken()})
	if len(first.GetAttempts()) != 1 || len(second.GetAttempts()) != 1 ||
		first.GetAttempts()[0].GetStep() != all[0].GetStep() ||
		second.GetAttempts()[0].GetStep() != all[1].GetStep() {
		p.t.Errorf("pages %v and %v of %v", first, second, all)
	}
	for _, a := range list(&cpv1.ListAttemptsRequest{Step: all[1].GetStep()}).GetAttempts() {
		if a.GetStep() != all[1].GetStep() {
			p.t.Errorf("attempts of %s have %v", all[1].GetStep(), a)
		}
	}
}
