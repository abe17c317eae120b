package wire

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

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
		Kind: enum.Of[cpv1.Job_Kind](j.Kind), State: enum.Of[cpv1.Job_State](string(j.State)),
		Subject: subject(j.Subjects), Error: whyNot(j),
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
		return &cpv1.JobError{Message: current.Reason, Reason: "ACTION_REQUIRED",
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
		Name: s.Kind, Title: s.Title, State: enum.Of[cpv1.Step_State](string(s.State)),
		Attempts:   int32(s.Attempts),
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

var attemptStates = map[job.AttemptState]cpv1.Attempt_State{
	job.AttemptOpen: cpv1.Attempt_STATE_RUNNING, job.AttemptDone: cpv1.Attempt_STATE_SUCCEEDED,
	job.AttemptFailed:    cpv1.Attempt_STATE_FAILED,
	job.AttemptParked:    cpv1.Attempt_STATE_ACTION_REQUIRED,
	job.AttemptBack:      cpv1.Attempt_STATE_RESTARTED,
	job.AttemptCancelled: cpv1.Attempt_STATE_CANCELLED,
	job.AttemptStopped:   cpv1.Attempt_STATE_STOPPED, job.AttemptLost: cpv1.Attempt_STATE_LOST,
}

// Attempt is an attempt of a step of the job.
func Attempt(j job.Job, a job.Attempt) *cpv1.Attempt {
	out := &cpv1.Attempt{
		Number: int32(a.Number), Generation: int32(a.Generation), State: attemptStates[a.State],
		Found: a.Found, Changed: a.Changed, Error: failure(a.Failure),
		StartTime: Time(a.Started), EndTime: Time(a.Finished), Worker: a.Owner, Epoch: a.Epoch,
	}
	for _, s := range j.Steps {
		if s.Seq == a.Seq {
			out.Step = s.Kind
		}
	}
	return out
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
