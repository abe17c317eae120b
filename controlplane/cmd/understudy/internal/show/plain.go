package show

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/hint"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Headline is one line that says what a job is for.
func Headline(job *cpv1.Job) string {
	return fmt.Sprintf("%s %s: %s", ID(job.GetName()), enum.Word(job.GetKind()),
		Clean(job.GetTitle()))
}

// Transitions tells what became of a job between two views of it, one line each, for logs and
// pipes: before is nil when nothing is known of it. Progress alone is told by ProgressLines.
func Transitions(before, after *cpv1.Job) []string {
	var lines []string
	for _, step := range after.GetSteps() {
		lines = append(lines, stepTransition(after, find(before, step.GetName()), step)...)
	}
	if before.GetState() != after.GetState() && after.GetState() == cpv1.Job_STATE_CANCELLING {
		lines = append(lines, ID(after.GetName())+" is being cancelled")
	}
	return lines
}

func find(job *cpv1.Job, name string) *cpv1.Step {
	for _, step := range job.GetSteps() {
		if step.GetName() == name {
			return step
		}
	}
	return nil
}

func stepTransition(job *cpv1.Job, before, after *cpv1.Step) []string {
	was, is := before.GetState(), after.GetState()
	if neverBegun(after) {
		return nil
	}
	var lines []string
	state := stateLine(job, before, after)
	if state != "" && underWay(after) {
		lines, state = append(lines, state), ""
	}
	label := Clean(after.GetName())
	if is != cpv1.Step_STATE_PENDING && is != cpv1.Step_STATE_UNSPECIFIED {
		lines = append(lines, added(label+": found: ", before.GetFound(), after.GetFound())...)
		lines = append(lines,
			added(label+": changed: ", before.GetChanged(), after.GetChanged())...)
	}
	if state != "" { // how it ended comes last
		lines = append(lines, state)
	}
	if after.GetError() != nil && (was != is || !proto.Equal(before.GetError(), after.GetError())) {
		lines = append(lines, errorLines(label, after.GetError())...)
	}
	return lines
}

func stateLine(job *cpv1.Job, before, after *cpv1.Step) string {
	was, is := before.GetState(), after.GetState()
	name := Clean(after.GetName())
	tries := ""
	if after.GetAttempts() > 1 {
		tries = fmt.Sprintf(" (attempt %d)", after.GetAttempts())
	}
	again := after.GetAttempts() != before.GetAttempts()
	switch {
	case is == cpv1.Step_STATE_RUNNING && (was != is || again):
		return name + ": running" + tries
	case is == cpv1.Step_STATE_WAITING &&
		(was != is || again || before.GetWaitReason() != after.GetWaitReason()):
		return name + ": waiting" + because(after) + tries
	case was == is, is == cpv1.Step_STATE_PENDING, is == cpv1.Step_STATE_UNSPECIFIED:
		return ""
	case is == cpv1.Step_STATE_SUCCEEDED:
		return name + ": done in " + Duration(StepTook(job, after, 0)) + tries
	default:
		return name + ": " + words(StepState(is)) + because(after) + tries
	}
}

func because(step *cpv1.Step) string {
	if step.GetWaitReason() == "" || step.GetWaitReason() == words(StepState(step.GetState())) {
		return ""
	}
	return ": " + Clean(step.GetWaitReason())
}

func added(label string, before, after []string) []string {
	known := map[string]bool{}
	for _, line := range before {
		known[line] = true
	}
	var lines []string
	for _, line := range after {
		if !known[line] {
			lines = append(lines, label+Clean(line))
		}
	}
	return lines
}

func errorLines(label string, err *cpv1.JobError) []string {
	lines := []string{label + ": error: " + Clean(err.GetMessage())}
	if err.GetReason() != "" {
		lines[0] += " (" + Clean(err.GetReason()) + ")"
	}
	if text := hint.Text(errs.HintFromProto(err.GetHint())); text != "" {
		lines = append(lines, label+": hint: "+Clean(text))
	}
	return lines
}

// ProgressLines tells how far the running steps of a job are, one line each.
func ProgressLines(job *cpv1.Job) []string {
	var lines []string
	for _, step := range job.GetSteps() {
		if !underWay(step) {
			continue
		}
		if text := plainProgress(step.GetProgress()); text != "" {
			lines = append(lines, Clean(step.GetName())+": "+text)
		}
	}
	return lines
}

func plainProgress(p *cpv1.StepProgress) string {
	parts := []string{}
	if p.GetTotal() > 0 {
		parts = append(parts, fmt.Sprintf("%.0f%%", 100*share(p)))
	}
	for _, part := range []string{figures(p), Clean(p.GetText())} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if p.GetRemaining() != nil {
		parts = append(parts, "about "+Duration(p.GetRemaining().AsDuration())+" left")
	}
	return strings.Join(parts, ", ")
}

// Ended says how a job ended.
func Ended(job *cpv1.Job) string {
	took := ""
	if job.GetStartTime() != nil && job.GetEndTime() != nil {
		took = " after " + Duration(job.GetEndTime().AsTime().Sub(job.GetStartTime().AsTime()))
	}
	switch id := ID(job.GetName()); job.GetState() {
	case cpv1.Job_STATE_SUCCEEDED:
		return id + " succeeded" + took
	case cpv1.Job_STATE_CANCELLED:
		return id + " was cancelled" + took
	case cpv1.Job_STATE_ACTION_REQUIRED:
		return id + " needs an operator"
	case cpv1.Job_STATE_FAILED:
		return id + " failed" + took
	default:
		return id + " is " + words(JobState(job.GetState()))
	}
}

// Stamp puts the time in front of a line.
func Stamp(now time.Time, line string) string { return now.Format("15:04:05") + " " + line }
