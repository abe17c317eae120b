package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestOneRequestMakesOneJob(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	req := &cpv1.CreateServerRequest{Name: "servers/db1", RequestId: uuid.NewString()}
	names := make([]string, 8)
	var group sync.WaitGroup
	for i := range names {
		group.Go(func() {
			answer, err := p.servers().CreateServer(t.Context(), req)
			if err != nil {
				t.Error(err)
			}
			names[i] = answer.GetJob().GetName()
		})
	}
	group.Wait()
	for _, name := range names {
		if name == "" || name != names[0] {
			t.Fatalf("jobs %v, want the same one", names)
		}
	}
	p.until(names[0], inState(cpv1.Job_STATE_WAITING))
	again, err := p.servers().CreateServer(t.Context(), req)
	if err != nil || again.GetJob().GetName() != names[0] {
		t.Errorf("a late repeat: %v, %v", again.GetJob().GetName(), err)
	}
	_, err = p.servers().CreateServer(t.Context(),
		&cpv1.CreateServerRequest{Name: "servers/db2", RequestId: req.GetRequestId()})
	refused(t, err, errs.AlreadyExists, errorsv1.Reason_REASON_REQUEST_REUSED)
	_, err = p.servers().CreateServer(t.Context(), &cpv1.CreateServerRequest{Name: "servers/db1"})
	refused(t, err, errs.AlreadyExists, errorsv1.Reason_REASON_ALREADY_EXISTS)
}

func TestPlanStartsNothing(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	answer, err := p.servers().CreateServer(t.Context(),
		&cpv1.CreateServerRequest{Name: "servers/db1",
			ValidateOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	j := answer.GetJob()
	if j.GetName() != "" || j.GetState() != cpv1.Job_STATE_UNSPECIFIED || len(j.GetSteps()) == 0 ||
		len(j.GetSteps()[0].GetChanged()) == 0 {
		t.Errorf("plan %v", j)
	}
	jobs, err := p.jobs().ListJobs(t.Context(), &cpv1.ListJobsRequest{})
	if err != nil || len(jobs.GetJobs()) != 0 || p.changes() != 0 {
		t.Errorf("the plan made %v, changed the provider %d times, %v", jobs.GetJobs(),
			p.changes(), err)
	}
}

func TestJobIsWatchedCancelledAndCleanedUp(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	answer, err := p.servers().CreateServer(t.Context(),
		&cpv1.CreateServerRequest{Name: "servers/db1"})
	if err != nil {
		t.Fatal(err)
	}
	name := answer.GetJob().GetName()
	stream, err := p.jobs().WatchJob(t.Context(), &cpv1.WatchJobRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || first.GetJob().GetName() != name || len(first.GetJob().GetSteps()) == 0 {
		t.Fatalf("first message %v, %v", first, err)
	}
	waiting := p.until(name, func(j *cpv1.Job) bool {
		return j.GetState() == cpv1.Job_STATE_WAITING && len(j.GetSteps()[1].GetChanged()) > 0
	})
	if s := waiting.GetSteps()[1]; s.GetName() != "create_machine" || s.GetWaitReason() == "" ||
		s.GetDuration() == nil {
		t.Errorf("step %v", s)
	}
	_, err = p.jobs().RetryJob(t.Context(), &cpv1.RetryJobRequest{Name: name})
	refused(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_JOB_WRONG_STATE)
	_, err = p.jobs().CleanupJob(t.Context(),
		&cpv1.CleanupJobRequest{Name: name, ValidateOnly: true})
	refused(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_JOB_WRONG_STATE)
	if _, err := p.jobs().CancelJob(t.Context(), &cpv1.CancelJobRequest{Name: name}); err != nil {
		t.Fatal(err)
	}
	var last *cpv1.Job
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = message.GetJob()
	}
	if last.GetState() != cpv1.Job_STATE_CANCELLED {
		t.Errorf("the watch ended with %v", last.GetState())
	}
	p.checkCleanup(name)
}

func (p *plane) checkCleanup(name string) {
	plan, err := p.jobs().CleanupJob(p.t.Context(),
		&cpv1.CleanupJobRequest{Name: name, ValidateOnly: true})
	if err != nil {
		p.t.Fatal(err)
	}
	told := false
	for _, s := range plan.GetJob().GetSteps() {
		told = told || s.GetName() == "remove_machine" && len(s.GetChanged()) == 1
	}
	if before := p.changes(); !told || before != 1 {
		p.t.Errorf(
			"the plan of the cleanup does not name the machine, or changed something (%d): %v",
			before, plan.GetJob())
	}
	if _, err := p.jobs().CleanupJob(p.t.Context(),
		&cpv1.CleanupJobRequest{Name: name}); err != nil {
		p.t.Fatal(err)
	}
	p.until(name, inState(cpv1.Job_STATE_CANCELLED))
	p.World.Mu.Lock()
	defer p.World.Mu.Unlock()
	for _, m := range p.World.Cloud.Machines {
		if m.State != provider.MachineTerminated {
			p.t.Errorf("machine %v", m)
		}
	}
	p.checkAudit(name)
}

// checkAudit sees that the audit has who asked for what.
func (p *plane) checkAudit(name string) {
	events, err := p.jobs().ListEvents(p.t.Context(), &cpv1.ListEventsRequest{Subject: name})
	if err != nil {
		p.t.Fatal(err)
	}
	asked := map[string]string{}
	for _, e := range events.GetEvents() {
		asked[e.GetAction()] = e.GetActor()
	}
	for _, action := range []string{"job.create", "job.cancel", "job.cleanup"} {
		if asked[action] != "spiffe://understudy/admin/admin" {
			p.t.Errorf("%s was asked by %q", action, asked[action])
		}
	}
}

func TestFailedJobSaysWhyAndIsRetried(t *testing.T) {
	t.Parallel()
	w := stillWorld(t)
	w.Cloud.Images = nil
	p := startPlane(t, t.TempDir(), w)
	answer, err := p.servers().CreateServer(t.Context(),
		&cpv1.CreateServerRequest{Name: "servers/db1"})
	if err != nil {
		t.Fatal(err)
	}
	name := answer.GetJob().GetName()
	failed := p.until(name, inState(cpv1.Job_STATE_FAILED))
	if e := failed.GetError(); e.GetReason() != "NOT_FOUND" || e.GetHint() == nil ||
		e.GetMessage() == "" {
		t.Errorf("error %v", e)
	}
	_, err = p.jobs().SkipStep(t.Context(), &cpv1.SkipStepRequest{Name: name, Step: "nosuch",
		Reason: "test"})
	refused(t, err, errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND)
	if _, err := p.jobs().RetryJob(t.Context(),
		&cpv1.RetryJobRequest{Name: name, Step: "plan"}); err != nil {
		t.Error(err)
	}
	again := p.until(name, func(j *cpv1.Job) bool {
		return j.GetSteps()[0].GetAttempts() > 1 && j.GetState() == cpv1.Job_STATE_FAILED
	})
	if again.GetSteps()[0].GetGeneration() != 1 {
		t.Errorf("a retry made generation %d", again.GetSteps()[0].GetGeneration())
	}
}

func TestListsComeInPages(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	var want []string
	for i := range 7 {
		p.addServer(fmt.Sprintf("db%d", i), "")
		want = append(want, fmt.Sprintf("servers/db%d", i))
	}
	var got []string
	token, foreign := "", ""
	for {
		page, err := p.servers().ListServers(t.Context(),
			&cpv1.ListServersRequest{PageSize: 3, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.GetServers() {
			got = append(got, s.GetName())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
		foreign = token
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	_, err := p.snapshots().ListSnapshots(t.Context(),
		&cpv1.ListSnapshotsRequest{PageToken: foreign})
	refused(t, err, errs.InvalidArgument, errorsv1.Reason_REASON_PAGE_TOKEN_INVALID)
	_, err = p.servers().ListServers(t.Context(), &cpv1.ListServersRequest{PageToken: foreign,
		Primary: "servers/db1"})
	refused(t, err, errs.InvalidArgument, errorsv1.Reason_REASON_PAGE_TOKEN_INVALID)
	provider := cpv1.NewProviderServiceClient(p.conn)
	images, err := provider.ListImages(t.Context(), &cpv1.ListImagesRequest{PageSize: 1})
	if err != nil || len(images.GetImages()) != 1 ||
		images.GetImages()[0].GetName() != "bookworm" || images.GetNextPageToken() == "" {
		t.Fatalf("images %v, %v", images, err)
	}
	rest, err := provider.ListImages(t.Context(),
		&cpv1.ListImagesRequest{PageToken: images.GetNextPageToken()})
	if err != nil || len(rest.GetImages()) != 1 || !rest.GetImages()[0].GetIsDefault() {
		t.Errorf("rest %v, %v", rest, err)
	}
	_, err = provider.ListObjects(t.Context(),
		&cpv1.ListObjectsRequest{PageToken: images.GetNextPageToken()})
	refused(t, err, errs.InvalidArgument, errorsv1.Reason_REASON_PAGE_TOKEN_INVALID)
}

func TestDeletedServersAreHiddenAcrossPages(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	for i := range 6 {
		p.addServer(fmt.Sprintf("db%d", i), "")
	}
	p.write(func(ctx context.Context, tx *store.Tx) error {
		for _, name := range []string{"db1", "db2", "db3"} {
			s, err := tx.Servers().Get(ctx, name)
			if err != nil {
				return err
			}
			s.State = inventory.ServerDeleted
			if err := tx.Servers().Update(ctx, &s); err != nil {
				return err
			}
		}
		return nil
	})
	first, err := p.servers().ListServers(t.Context(), &cpv1.ListServersRequest{PageSize: 2})
	if err != nil || len(first.GetServers()) != 2 ||
		first.GetServers()[1].GetName() != "servers/db4" || first.GetNextPageToken() == "" {
		t.Fatalf("first page %v, %v", first, err)
	}
	all, err := p.servers().ListServers(t.Context(),
		&cpv1.ListServersRequest{PageSize: 1000, ShowDeleted: true})
	if err != nil || len(all.GetServers()) != 6 ||
		all.GetServers()[1].GetState() != cpv1.Server_STATE_DELETED {
		t.Errorf("all %v, %v", all, err)
	}
}

func TestAutoPurgeAgainstReplication(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.addServer("db1", "")
	p.addServer("db2", "db1")
	p.addServer("db3", "")
	on := func(name string, only bool) (*cpv1.UpdateServerResponse, error) {
		return p.servers().UpdateServer(t.Context(), &cpv1.UpdateServerRequest{
			Server:       &cpv1.Server{Name: "servers/" + name, BinlogAutoPurge: true},
			ValidateOnly: only,
			UpdateMask:   &fieldmaskpb.FieldMask{Paths: []string{"binlog_auto_purge"}},
		})
	}
	for _, name := range []string{"db1", "db2"} {
		_, err := on(name, false)
		refused(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_AUTO_PURGE_CONFLICT)
	}
	if answer, err := on("db3", true); err != nil || !answer.GetServer().GetBinlogAutoPurge() {
		t.Errorf("check alone: %v, %v", answer, err)
	}
	got, err := p.servers().GetServer(t.Context(), &cpv1.GetServerRequest{Name: "servers/db3"})
	if err != nil || got.GetServer().GetBinlogAutoPurge() {
		t.Fatalf("after a check alone: %v, %v", got, err)
	}
	// There is no agent to change MariaDB, so the record is not changed either, whichever way.
	_, err = on("db3", false)
	refused(t, err, errs.Unavailable, errorsv1.Reason_REASON_AGENT_UNREACHABLE)
	_, err = p.servers().UpdateServer(t.Context(), &cpv1.UpdateServerRequest{
		Server:     &cpv1.Server{Name: "servers/db3", Etag: "r77"},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"*"}},
	})
	refused(t, err, errs.Aborted, errorsv1.Reason_REASON_ETAG_MISMATCH)
	kept, err := p.servers().UpdateServer(t.Context(),
		&cpv1.UpdateServerRequest{Server: &cpv1.Server{Name: "servers/db3"}})
	if err != nil || kept.GetServer().GetBinlogAutoPurge() ||
		kept.GetServer().GetEtag() != got.GetServer().GetEtag() {
		t.Errorf("an empty change, or one that failed, changed %v, %v", kept, err)
	}
}

func TestDeletionReliesOnWhatWasRead(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.addServer("db1", "")
	p.addServer("db2", "db1")
	get := func(name string) *cpv1.Server {
		answer, err := p.servers().GetServer(t.Context(), &cpv1.GetServerRequest{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return answer.GetServer()
	}
	_, err := p.servers().DeleteServer(t.Context(), &cpv1.DeleteServerRequest{Name: "servers/db1",
		Etag: get("servers/db1").GetEtag()})
	refused(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_IN_USE)
	_, err = p.servers().DeleteServer(t.Context(), &cpv1.DeleteServerRequest{Name: "servers/db2",
		Etag: "r999"})
	refused(t, err, errs.Aborted, errorsv1.Reason_REASON_ETAG_MISMATCH)
	_, err = p.servers().DeleteServer(t.Context(), &cpv1.DeleteServerRequest{Name: "servers/none",
		Etag: "r1"})
	refused(t, err, errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND)
	_, err = p.snapshots().DeleteSnapshot(t.Context(),
		&cpv1.DeleteSnapshotRequest{Name: "snapshots/none", Etag: "r1"})
	refused(t, err, errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND)
	_, err = p.snapshots().CreateSnapshot(t.Context(),
		&cpv1.CreateSnapshotRequest{Server: "servers/none"})
	refused(t, err, errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND)
	_, err = p.jobs().GetJob(t.Context(), &cpv1.GetJobRequest{Name: "jobs/none"})
	refused(t, err, errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND)
	_, err = p.jobs().CancelJob(t.Context(), &cpv1.CancelJobRequest{Name: "jobs/none"})
	refused(t, err, errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND)
}

func TestASecondJobOnAServerIsShutOut(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	answer, err := p.servers().CreateServer(t.Context(),
		&cpv1.CreateServerRequest{Name: "servers/db1"})
	if err != nil {
		t.Fatal(err)
	}
	p.until(answer.GetJob().GetName(), inState(cpv1.Job_STATE_WAITING))
	server, err := p.servers().GetServer(t.Context(), &cpv1.GetServerRequest{Name: "servers/db1"})
	if err != nil || server.GetServer().GetState() != cpv1.Server_STATE_PROVISIONING {
		t.Fatalf("server %v, %v", server, err)
	}
	_, err = p.servers().DeleteServer(t.Context(), &cpv1.DeleteServerRequest{Name: "servers/db1",
		Etag: server.GetServer().GetEtag()})
	refused(t, err, errs.Aborted, errorsv1.Reason_REASON_JOB_BUSY)
	if job := errs.MetaOf(err)["job"]; job != answer.GetJob().GetName() {
		t.Errorf("the error names %q", job)
	}
}
