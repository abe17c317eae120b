package show

import (
	"fmt"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/hint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const (
	indent    = "    "
	tookWidth = 7
)

// block is the lines of one step, and whether it is behind the job or still to come.
type block struct {
	lines         []string
	done, pending bool
}

func stepBlock(job *cpv1.Job, step *cpv1.Step, names int, screen Screen) block {
	b := block{lines: []string{stepLine(job, step, names, screen)}, done: settled(step),
		pending: step.GetState() == cpv1.Step_STATE_PENDING}
	if inFocus(job, step) || afterTrouble(job, step) || screen.All {
		b.lines = append(b.lines, details(step, screen)...)
	}
	return b
}

// inFocus holds for steps under way and for those that stopped the job.
func inFocus(job *cpv1.Job, step *cpv1.Step) bool {
	switch step.GetState() {
	case cpv1.Step_STATE_RUNNING, cpv1.Step_STATE_WAITING:
		return Active(job.GetState())
	case cpv1.Step_STATE_FAILED, cpv1.Step_STATE_ACTION_REQUIRED:
		return true
	default:
		return false
	}
}

// afterTrouble holds for what was done after the step that stopped a job: what was released, and
// what is left.
func afterTrouble(job *cpv1.Job, step *cpv1.Step) bool {
	if job.GetState() != cpv1.Job_STATE_FAILED && job.GetState() != cpv1.Job_STATE_CANCELLED ||
		!settled(step) {
		return false
	}
	for _, s := range job.GetSteps() {
		if s.GetName() == step.GetName() {
			return false
		}
		if s.GetState() == cpv1.Step_STATE_FAILED || s.GetState() == cpv1.Step_STATE_CANCELLED {
			return true
		}
	}
	return false
}

// neverBegun holds for steps that a cancel found waiting for their turn.
func neverBegun(step *cpv1.Step) bool {
	return step.GetState() == cpv1.Step_STATE_CANCELLED && step.GetStartTime() == nil
}

func stepLine(job *cpv1.Job, step *cpv1.Step, names int, screen Screen) string {
	st := screen.Style
	glyph, paint := mark(job, step, screen)
	name := pad(Clean(step.GetName()), names)
	title := stepTitle(step)
	took := ""
	if d := StepTook(job, step, screen.Since); d > 0 {
		took = Duration(d)
	}
	left := " " + paint(glyph) + " " + stepName(step, name, st) + "  "
	if screen.Width <= 0 {
		return strings.TrimRight(left+pad(took, tookWidth)+"  "+st.Dim(title), " ")
	}
	room := max(0, screen.Width-width(left)-tookWidth-2)
	title = cut(title, room, st.Glyphs.Ellipsis)
	if room < 12 {
		title = ""
	}
	if took == "" {
		return left + st.Dim(title)
	}
	title = pad(title, room)
	return left + st.Dim(title) + "  " + strings.Repeat(" ", max(0, tookWidth-width(took))) +
		st.Dim(took)
}

// stepTitle is what a step makes sure; why it was left out, when it was.
func stepTitle(step *cpv1.Step) string {
	switch {
	case step.GetState() == cpv1.Step_STATE_SKIPPED && step.GetWaitReason() != "":
		return "skipped: " + Clean(step.GetWaitReason())
	case step.GetAttempts() > 1:
		return fmt.Sprintf("attempt %d: %s", step.GetAttempts(), Clean(step.GetTitle()))
	default:
		return Clean(step.GetTitle())
	}
}

func stepName(step *cpv1.Step, name string, st Style) string {
	switch step.GetState() {
	case cpv1.Step_STATE_PENDING, cpv1.Step_STATE_SKIPPED, cpv1.Step_STATE_CANCELLED,
		cpv1.Step_STATE_UNSPECIFIED:
		return st.Dim(name)
	case cpv1.Step_STATE_RUNNING, cpv1.Step_STATE_WAITING:
		return st.Bold(name)
	default:
		return name
	}
}

// mark is the sign in front of a step, and its colour.
func mark(job *cpv1.Job, step *cpv1.Step, screen Screen) (string, Paint) {
	st, g := screen.Style, screen.Style.Glyphs
	spin := g.Spin[screen.Frame%len(g.Spin)]
	if !Active(job.GetState()) || screen.Height == 0 {
		spin = g.Waiting
	}
	if neverBegun(step) {
		return g.Pending, st.Dim
	}
	switch step.GetState() {
	case cpv1.Step_STATE_RUNNING:
		return spin, st.Accent
	case cpv1.Step_STATE_WAITING:
		return spin, st.Warn
	case cpv1.Step_STATE_SUCCEEDED:
		return g.Done, st.Good
	case cpv1.Step_STATE_SKIPPED:
		return g.Skipped, st.Dim
	case cpv1.Step_STATE_FAILED:
		return g.Failed, st.Bad
	case cpv1.Step_STATE_ACTION_REQUIRED:
		return g.Question, st.Warn
	case cpv1.Step_STATE_CANCELLED:
		return g.Failed, st.Dim
	default:
		return g.Pending, st.Dim
	}
}

// StepTook is how long a step took; one under way goes on by the time since it was reported.
func StepTook(job *cpv1.Job, step *cpv1.Step, since time.Duration) time.Duration {
	took := step.GetDuration().AsDuration()
	if underWay(step) && Active(job.GetState()) {
		return took + since
	}
	if took == 0 && step.GetStartTime() != nil && step.GetEndTime() != nil {
		return step.GetEndTime().AsTime().Sub(step.GetStartTime().AsTime())
	}
	return took
}

func details(step *cpv1.Step, screen Screen) []string {
	var lines []string
	if underWay(step) {
		if line := Progress(step.GetProgress(), screen); line != "" {
			lines = append(lines, indent+line)
		}
	}
	if because(step) != "" && step.GetState() != cpv1.Step_STATE_SKIPPED {
		lines = append(lines, labelled([]string{step.GetWaitReason()}, waitLabel(step), screen,
			screen.Style.Warn)...)
	}
	lines = append(lines, labelled(step.GetFound(), "found", screen, screen.Style.Dim)...)
	lines = append(lines, labelled(step.GetChanged(), "changed", screen, nil)...)
	return append(lines, failure(step.GetError(), screen)...)
}

func settled(step *cpv1.Step) bool {
	return step.GetState() == cpv1.Step_STATE_SUCCEEDED ||
		step.GetState() == cpv1.Step_STATE_SKIPPED
}

func underWay(step *cpv1.Step) bool {
	return step.GetState() == cpv1.Step_STATE_RUNNING || step.GetState() == cpv1.Step_STATE_WAITING
}

func waitLabel(step *cpv1.Step) string {
	if underWay(step) {
		return "waits"
	}
	return "because"
}

// labelled is a list of lines behind a label, the label on the first one alone.
func labelled(texts []string, label string, screen Screen, paint Paint) []string {
	const labelWidth = 9
	var lines []string
	for _, text := range texts {
		for _, part := range wrap(Clean(text), tail(screen.Width, len(indent)+labelWidth)) {
			if paint != nil {
				part = paint(part)
			}
			lines = append(lines, indent+screen.Style.Dim(pad(label, labelWidth))+part)
			label = ""
		}
	}
	return lines
}

// failure is an error with its reason and the hint.
func failure(err *cpv1.JobError, screen Screen) []string {
	if err == nil {
		return nil
	}
	lines := labelled([]string{err.GetMessage()}, "error", screen, screen.Style.Bad)
	if err.GetReason() != "" {
		lines = append(lines, labelled([]string{err.GetReason()}, "reason", screen, nil)...)
	}
	if text := hint.Text(errs.HintFromProto(err.GetHint())); text != "" {
		lines = append(lines, labelled([]string{text}, "hint", screen, screen.Style.Accent)...)
	}
	return lines
}
