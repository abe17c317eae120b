package wire

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

var jobStates = map[job.State]cpv1.Job_State{
	job.Queued: cpv1.Job_STATE_QUEUED, job.Running: cpv1.Job_STATE_RUNNING,
	job.Waiting:        cpv1.Job_STATE_WAITING,
	job.ActionRequired: cpv1.Job_STATE_NEEDS_PERSON, job.Failed: cpv1.Job_STATE_FAILED,
	job.Cancelling: cpv1.Job_STATE_CANCELLING,
	job.Cancelled:  cpv1.Job_STATE_CANCELLED, job.Succeeded: cpv1.Job_STATE_SUCCEEDED,
}

var stepStates = map[job.StepState]cpv1.Step_State{
	job.StepPending: cpv1.Step_STATE_PENDING, job.StepRunning: cpv1.Step_STATE_RUNNING,
	job.StepWaiting:   cpv1.Step_STATE_WAITING,
	job.StepSucceeded: cpv1.Step_STATE_SUCCEEDED, job.StepSkipped: cpv1.Step_STATE_SKIPPED,
	job.StepFailed:         cpv1.Step_STATE_FAILED,
	job.StepActionRequired: cpv1.Step_STATE_NEEDS_PERSON, job.StepCancelled: cpv1.Step_STATE_CANCELLED,
}

// Job is a job with its steps as of now. A job without an id is a plan: it has no name and no
// state.
func Job(j job.Job, now time.Time) *cpv1.Job {
	out := JobHead(j)
	for _, s := range j.Steps {
		out.Steps = append(out.Steps, step(s, j.ID == "", now))
	}
	return out
}

// JobHead is a job without its steps.
func JobHead(j job.Job) *cpv1.Job {
	out := &cpv1.Job{
		Kind: j.Kind, State: jobStates[j.State], Subject: subject(j.Subjects), Error: whyNot(j),
		RequestId: j.RequestID, RequestedBy: j.Who,
		CreateTime: Time(j.Created), StartTime: Time(j.Started), EndTime: Time(j.Finished),
		Epoch: j.Epoch, Title: j.Title,
	}
	if j.ID != "" {
		out.Name = jobPrefix + j.ID
	} else {
		out.State = cpv1.Job_STATE_UNSPECIFIED
	}
	return out
}

// subject is what the job is about: its first subject that is a resource.
func subject(subjects []string) string {
	for _, s := range subjects {
		if strings.HasPrefix(s, serverPrefix) || strings.HasPrefix(s, snapshotPrefix) {
			return s
		}
	}
	return ""
}

// whyNot is the error of the step that stopped the job.
func whyNot(j job.Job) *cpv1.JobError {
	if j.State != job.Failed && j.State != job.ActionRequired {
		return nil
	}
	current, ok := j.Current()
	switch {
	case ok && current.Failure != nil:
		return failure(current.Failure)
	case ok && current.Reason != "":
		return &cpv1.JobError{Message: current.Reason, Reason: "NEEDS_PERSON",
			Hint: errs.HintToProto(errs.Hint{
				Text: "decide: retry, skip or redo the step, or cancel the job"})}
	case j.Reason != "":
		return &cpv1.JobError{Message: j.Reason}
	}
	return nil
}

func failure(f *job.Failure) *cpv1.JobError {
	if f == nil {
		return nil
	}
	return &cpv1.JobError{Message: f.Message, Reason: f.Reason, Hint: errs.HintToProto(f.Hint)}
}

func step(s job.Step, plan bool, now time.Time) *cpv1.Step {
	out := &cpv1.Step{
		Name: s.Kind, Title: s.Title, State: stepStates[s.State], Attempts: int32(s.Attempts),
		Generation: int32(s.Generation),
		Found:      s.Found, Changed: s.Changed, Progress: progress(s.Progress),
		Error:     failure(s.Failure),
		StartTime: Time(s.Started), EndTime: Time(s.Finished), Duration: took(s, now),
		WaitReason: s.Reason,
	}
	if plan {
		out.State = cpv1.Step_STATE_UNSPECIFIED
		if s.State == job.StepSkipped {
			out.State = cpv1.Step_STATE_SKIPPED
		}
	}
	return out
}

// took is how long the step took so far, waits included; absent before it began.
func took(s job.Step, now time.Time) *durationpb.Duration {
	switch {
	case s.Started.IsZero():
		return nil
	case !s.Finished.IsZero():
		now = s.Finished
	}
	return durationpb.New(max(now.Sub(s.Started), 0))
}

func progress(p job.Progress) *cpv1.StepProgress {
	if p == (job.Progress{}) {
		return nil
	}
	out := &cpv1.StepProgress{Done: p.Done, Total: p.Total, Unit: p.Unit, Text: p.Text}
	if p.ETA > 0 {
		out.Remaining = durationpb.New(p.ETA)
	}
	return out
}

// Time is a time, absent when it is zero.
func Time(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
