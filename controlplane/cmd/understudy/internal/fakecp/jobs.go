package fakecp

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/proto/rpc/enum"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// run is a job on its way along its script.
type run struct {
	mu     sync.Mutex
	frames []frame
	at     int
}

func (r *run) now() frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.frames[r.at]
}

// advance goes on to the next frame; false at the end.
func (r *run) advance() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at+1 >= len(r.frames) {
		return false
	}
	r.at++
	return true
}

func (r *run) unhang() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.frames {
		if r.frames[i].act == hang {
			r.frames[i].act = goOn
		}
	}
}

// play makes a script a job of the scene, and returns it as it is at first.
func (s *Server) play(sc *script) *cpv1.Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &run{frames: sc.frames}
	s.runs[sc.job.GetName()] = r
	return proto.CloneOf(r.now().job)
}

func (s *Server) find(name string) (*run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.runs[name]; r != nil {
		return r, nil
	}
	for _, j := range s.scene.jobs {
		if j.GetName() == name {
			r := &run{frames: []frame{{job: j}}}
			s.runs[name] = r
			return r, nil
		}
	}
	return nil, notFound(name, "ListJobs")
}

func notFound(name, list string) error {
	return errs.New(errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND, "there is no "+name,
		errs.WithHint("see what there is", errs.Call(list)))
}

// GetJob returns a job as it is now.
func (s *Server) GetJob(_ context.Context, req *cpv1.GetJobRequest) (*cpv1.GetJobResponse, error) {
	r, err := s.find(req.GetName())
	if err != nil {
		return nil, err
	}
	return &cpv1.GetJobResponse{Job: r.now().job}, nil
}

// WatchJob goes along a job's script.
func (s *Server) WatchJob(req *cpv1.WatchJobRequest,
	stream grpc.ServerStreamingServer[cpv1.WatchJobResponse]) error {
	r, err := s.find(req.GetName())
	if err != nil {
		return err
	}
	for {
		f := r.now()
		if err := stream.Send(&cpv1.WatchJobResponse{Job: f.job}); err != nil {
			return err
		}
		if f.act == hang {
			<-stream.Context().Done()
			return stream.Context().Err()
		}
		if !r.advance() {
			return nil
		}
		if f.act == bounce || f.act == vanish {
			s.restart(f.act == bounce)
			return errs.New(errs.Unavailable, errorsv1.Reason_REASON_CANCELED,
				"the control plane is stopping")
		}
		if err := s.pace(stream.Context()); err != nil {
			return err
		}
	}
}

func (s *Server) pace(ctx context.Context) error {
	if s.config.Pace == 0 {
		return nil
	}
	timer := time.NewTimer(s.config.Pace)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// ListJobs returns the scene's jobs, and those that were made since, two a page so that paging is
// used.
func (s *Server) ListJobs(_ context.Context,
	req *cpv1.ListJobsRequest) (*cpv1.ListJobsResponse, error) {
	var kept []*cpv1.Job
	for _, j := range append(s.begun(req.GetSubject()), s.scene.jobs...) {
		if req.GetSubject() != "" && j.GetSubject() != req.GetSubject() ||
			req.GetActiveOnly() && ended(j) || !has(req.GetStates(), j.GetState()) ||
			!has(req.GetKinds(), j.GetKind()) || !strings.Contains(j.GetTitle(), req.GetText()) ||
			!within(j.GetCreateTime(), req.GetCreatedAfter(), req.GetCreatedBefore()) {
			continue
		}
		brief := proto.CloneOf(j)
		brief.Steps = nil
		kept = append(kept, brief)
	}
	jobs, token := page(kept, req.GetPageToken(), min(2, int(req.GetPageSize())))
	return &cpv1.ListJobsResponse{Jobs: jobs, NextPageToken: token}, nil
}

// begun are the jobs about a subject that were started here.
func (s *Server) begun(subject string) (jobs []*cpv1.Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.runs {
		if job := r.now().job; subject != "" && job.GetSubject() == subject {
			jobs = append(jobs, job)
		}
	}
	return jobs
}

// has reports whether a value is among those that a list is narrowed to.
func has[V comparable](wanted []V, value V) bool {
	return len(wanted) == 0 || slices.Contains(wanted, value)
}

func within(t, after, before *timestamppb.Timestamp) bool {
	return (after == nil || !t.AsTime().Before(after.AsTime())) &&
		(before == nil || t.AsTime().Before(before.AsTime()))
}

// ListAttempts returns an attempt of each step that was begun.
func (s *Server) ListAttempts(_ context.Context,
	req *cpv1.ListAttemptsRequest) (*cpv1.ListAttemptsResponse, error) {
	r, err := s.find(req.GetName())
	if err != nil {
		return nil, err
	}
	var all []*cpv1.Attempt
	for _, step := range r.now().job.GetSteps() {
		if step.GetStartTime() == nil || req.GetStep() != "" && req.GetStep() != step.GetName() {
			continue
		}
		all = append(all, &cpv1.Attempt{Step: step.GetName(), Number: step.GetAttempts(),
			Generation: step.GetGeneration(), Error: step.GetError(), Found: step.GetFound(),
			State:   enum.Of[cpv1.Attempt_State](enum.Word(step.GetState())),
			Changed: step.GetChanged(), StartTime: step.GetStartTime(),
			EndTime: step.GetEndTime(), Worker: "cp1", Epoch: 1})
	}
	attempts, token := page(all, req.GetPageToken(), 3)
	return &cpv1.ListAttemptsResponse{Attempts: attempts, NextPageToken: token}, nil
}

func ended(j *cpv1.Job) bool {
	return j.GetState() == cpv1.Job_STATE_SUCCEEDED || j.GetState() == cpv1.Job_STATE_FAILED ||
		j.GetState() == cpv1.Job_STATE_CANCELLED
}

// page is so many of the records from a token on, and the token of the next page.
func page[T any](all []T, token string, size int) ([]T, string) {
	from := 0
	_, _ = fmt.Sscanf(token, "at-%d", &from)
	to := min(len(all), from+size)
	if to < len(all) {
		return all[from:to], fmt.Sprintf("at-%d", to)
	}
	return all[from:to], ""
}

// ListEvents returns the scene's events. Of those with the text "tick" there is one more each time.
func (s *Server) ListEvents(_ context.Context,
	req *cpv1.ListEventsRequest) (*cpv1.ListEventsResponse, error) {
	var kept []*cpv1.Event
	if req.GetText() == "tick" {
		n := s.asked.Add(1)
		s.mu.Lock()
		s.scene.events = append([]*cpv1.Event{{Time: ago(-time.Duration(n) * time.Second),
			Actor: "jobs/j-0001", Action: "job.tick", Subject: "servers/db1",
			Text: fmt.Sprintf("tick %d", n)}}, s.scene.events...)
		s.mu.Unlock()
	}
	for _, e := range s.scene.events {
		if (req.GetSubject() == "" || e.GetSubject() == req.GetSubject()) &&
			(req.GetAction() == "" || e.GetAction() == req.GetAction()) &&
			(req.GetActor() == "" || e.GetActor() == req.GetActor()) &&
			strings.Contains(e.GetText(), req.GetText()) &&
			within(e.GetTime(), req.GetAfter(), req.GetBefore()) {
			kept = append(kept, e)
		}
	}
	events, token := page(kept, req.GetPageToken(), int(req.GetPageSize()))
	return &cpv1.ListEventsResponse{Events: events, NextPageToken: token}, nil
}

// again lets a failed job go on at a step, up to its good end.
func (s *Server) again(name, step string) (*cpv1.Job, error) {
	r, err := s.find(name)
	if err != nil {
		return nil, err
	}
	job := proto.CloneOf(r.now().job)
	if !ended(job) && job.GetState() != cpv1.Job_STATE_ACTION_REQUIRED {
		return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_JOB_WRONG_STATE,
			"cannot retry job "+name+" while it is running",
			errs.WithHint("wait for its end, or cancel it", errs.Call("CancelJob", "name", name)))
	}
	return s.play(againScript(job, step)), nil
}

func againScript(job *cpv1.Job, only string) *script {
	was := job.GetState()
	job.State, job.Error, job.EndTime = cpv1.Job_STATE_QUEUED, nil, nil
	s := newScript(job)
	for _, step := range job.GetSteps() {
		done := step.GetState() == cpv1.Step_STATE_SUCCEEDED ||
			step.GetState() == cpv1.Step_STATE_SKIPPED
		if only != "" && step.GetName() != only || only == "" && done {
			continue
		}
		s.begin(step.GetName())
		s.done(step.GetName(), time.Second, []string{"all is as it should be"}, nil)
	}
	s.succeed()
	if only != "" {
		s.frames[len(s.frames)-1].job.State = was
	}
	return s
}

// RetryJob lets a job go on.
func (s *Server) RetryJob(_ context.Context,
	req *cpv1.RetryJobRequest) (*cpv1.RetryJobResponse, error) {
	job, err := s.again(req.GetName(), req.GetStep())
	return &cpv1.RetryJobResponse{Job: job}, err
}

// RedoStep lets a job go on; one that swaps a volume wants its server confirmed.
func (s *Server) RedoStep(_ context.Context,
	req *cpv1.RedoStepRequest) (*cpv1.RedoStepResponse, error) {
	if req.GetStep() == "swap_volume" {
		if err := s.confirmed(req.GetName(), req.GetConfirmDelete()); err != nil {
			return nil, err
		}
	}
	job, err := s.again(req.GetName(), "")
	return &cpv1.RedoStepResponse{Job: job}, err
}

func (s *Server) confirmed(job string, confirm *cpv1.DeleteConfirmation) error {
	r, err := s.find(job)
	if err != nil {
		return err
	}
	server, err := s.server(r.now().job.GetSubject())
	if err != nil {
		return err
	}
	if confirm.GetName() == server.GetName() && confirm.GetEtag() == server.GetEtag() {
		return nil
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_DATA_LOSS_NOT_CONFIRMED,
		"cannot delete the data of "+server.GetName()+": the request does not confirm it",
		errs.WithHint("confirm with its name and etag what is deleted"))
}

// SkipStep lets a job go on.
func (s *Server) SkipStep(_ context.Context,
	req *cpv1.SkipStepRequest) (*cpv1.SkipStepResponse, error) {
	job, err := s.again(req.GetName(), "")
	return &cpv1.SkipStepResponse{Job: job}, err
}

// CancelJob cancels a job.
func (s *Server) CancelJob(_ context.Context,
	req *cpv1.CancelJobRequest) (*cpv1.CancelJobResponse, error) {
	r, err := s.find(req.GetName())
	if err != nil {
		return nil, err
	}
	job := proto.CloneOf(r.now().job)
	if ended(job) {
		return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_JOB_WRONG_STATE,
			"job "+strings.TrimPrefix(job.GetName(), "jobs/")+" has ended",
			errs.WithHint("remove what it made", errs.Call("CleanupJob", "name", job.GetName())))
	}
	job.State = cpv1.Job_STATE_CANCELLING
	gone := proto.CloneOf(job)
	gone.State = cpv1.Job_STATE_CANCELLED
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[job.GetName()] = &run{frames: []frame{{job: job}, {job: gone}}}
	return &cpv1.CancelJobResponse{Job: job}, nil
}

// CleanupJob removes what a job made: a step more, after which the job is what it was.
func (s *Server) CleanupJob(_ context.Context,
	req *cpv1.CleanupJobRequest) (*cpv1.CleanupJobResponse, error) {
	r, err := s.find(req.GetName())
	if err != nil {
		return nil, err
	}
	job := proto.CloneOf(r.now().job)
	if job.GetKind() == cpv1.Job_KIND_VERIFY_REPLICA {
		return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_JOB_WRONG_STATE,
			"cannot clean job "+req.GetName()+" up: it makes nothing")
	}
	job.Steps = append(job.Steps, &cpv1.Step{Name: "remove_machine", Title: "the machine is gone",
		State: cpv1.Step_STATE_PENDING, Generation: 1})
	if req.GetValidateOnly() {
		removal := job.GetSteps()[len(job.GetSteps())-1]
		removal.Found, removal.Changed = []string{"machine i-4"},
			[]string{"terminate machine i-4", "delete volume vol-6"}
		return &cpv1.CleanupJobResponse{Job: job}, nil
	}
	was := job.GetState()
	sc := newScript(job)
	sc.begin("remove_machine")
	sc.done("remove_machine", time.Second, []string{"machine i-4"},
		[]string{"terminated machine i-4"})
	sc.job.State = was
	sc.tell()
	return &cpv1.CleanupJobResponse{Job: s.play(sc)}, nil
}

func sceneJobs() []*cpv1.Job {
	end := func(sc *script) *cpv1.Job { return sc.frames[len(sc.frames)-1].job }
	ok := end(replicaScript(newJob("j-0003", cpv1.Job_KIND_CREATE_REPLICA, "servers/db2",
		"replica db2 of db1, verified full", "", replicaSteps()), "db2"))
	failed := end(replicaScript(newJob("j-0004", cpv1.Job_KIND_CREATE_REPLICA, "servers/db4",
		"replica db4 of db1, verified position", "", replicaSteps()), "fails"))
	parked := end(replicaScript(newJob("j-0005", cpv1.Job_KIND_CREATE_REPLICA, "servers/db5",
		"replica db5 of db1, verified position", "", replicaSteps()), "parks"))
	taken := end(snapshotScript(newJob("j-0002", cpv1.Job_KIND_TAKE_SNAPSHOT,
		"snapshots/db1-20260102-140000",
		"online snapshot of db1", "", snapshotSteps())))
	return []*cpv1.Job{parked, failed, ok, taken}
}
