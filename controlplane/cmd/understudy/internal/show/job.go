package show

import (
	"fmt"
	"strings"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Screen says how a job is drawn.
type Screen struct {
	// Style is how texts look.
	Style Style
	// Width is that of the terminal, in columns; 0 when there is none, and nothing is cut or
	// wrapped.
	Width int
	// Height is that of the terminal, in lines; 0 when there is none, and nothing is left out.
	Height int
	// Frame counts the frames of what spins.
	Frame int
	// Since is how long ago the job was reported: running steps have run for that much longer.
	Since time.Duration
	// All shows what every step found and changed, not just the ones that matter now.
	All bool
}

// Active says whether the control plane is at work on a job.
func Active(s cpv1.Job_State) bool {
	switch s {
	case cpv1.Job_STATE_QUEUED, cpv1.Job_STATE_RUNNING, cpv1.Job_STATE_WAITING,
		cpv1.Job_STATE_CANCELLING:
		return true
	default:
		return false
	}
}

// Job draws a job: its title and state, then its steps; under the steps that matter now how far
// they are, what they found and changed, and their error with its cause and hint.
func Job(job *cpv1.Job, screen Screen) string {
	lines := header(job, screen)
	blocks := make([]block, len(job.GetSteps()))
	names := nameWidth(job)
	for i, step := range job.GetSteps() {
		blocks[i] = stepBlock(job, step, names, screen)
	}
	if screen.Height > 0 {
		blocks = fit(blocks, screen.Height-len(lines), screen.Style)
	}
	for _, b := range blocks {
		lines = append(lines, b.lines...)
	}
	return strings.Join(lines, "\n") + "\n"
}

func header(job *cpv1.Job, screen Screen) []string {
	st := screen.Style
	title := Clean(job.GetTitle())
	if title == "" {
		title = enum.Word(job.GetKind())
	}
	state := st.State(JobState(job.GetState()))
	if took := jobTook(job, screen.Since); took > 0 {
		state += st.Dim("  " + Duration(took))
	}
	room := screen.Width
	if room > 0 {
		room = max(20, room-width(state)-2)
	}
	head := st.Bold(cut(title, room, st.Glyphs.Ellipsis)) + "  " + state
	under := st.Dim(cut(ID(job.GetName())+"  "+enum.Word(job.GetKind())+stepsDone(job),
		screen.Width, st.Glyphs.Ellipsis))
	return []string{head, under}
}

// stepsDone says how many steps are behind a job that is under way.
func stepsDone(job *cpv1.Job) string {
	done := 0
	for _, step := range job.GetSteps() {
		if settled(step) {
			done++
		}
	}
	if !Active(job.GetState()) || len(job.GetSteps()) == 0 {
		return ""
	}
	return fmt.Sprintf("  %d of %d steps done", done, len(job.GetSteps()))
}

// jobTook is how long a job has been running by the clock of the control plane: a clock of here may
// differ.
func jobTook(job *cpv1.Job, since time.Duration) time.Duration {
	if job.GetStartTime() == nil {
		return 0
	}
	if job.GetEndTime() != nil && !Active(job.GetState()) {
		return job.GetEndTime().AsTime().Sub(job.GetStartTime().AsTime())
	}
	var last time.Time
	for _, step := range job.GetSteps() {
		if step.GetStartTime() == nil {
			continue
		}
		if end := step.GetStartTime().AsTime().Add(step.GetDuration().AsDuration()); end.After(
			last) {
			last = end
		}
	}
	if last.IsZero() {
		return since
	}
	if Active(job.GetState()) {
		last = last.Add(since)
	}
	return last.Sub(job.GetStartTime().AsTime())
}

func nameWidth(job *cpv1.Job) int {
	longest := 0
	for _, step := range job.GetSteps() {
		longest = max(longest, width(Clean(step.GetName())))
	}
	return longest
}

// Plan draws what a job would do, step by step: what it found, and what it would change.
func Plan(job *cpv1.Job, screen Screen) string {
	st := screen.Style
	lines := []string{st.Bold("Plan: "+Clean(job.GetTitle())) + st.Dim("  (nothing was changed)"),
		""}
	names := nameWidth(job)
	for i, step := range job.GetSteps() {
		number := fmt.Sprintf("%2d  ", i+1)
		lines = append(lines, st.Dim(number)+st.Accent(pad(Clean(step.GetName()), names))+"  "+
			cut(Clean(step.GetTitle()), tail(screen.Width, len(number)+names+2),
				st.Glyphs.Ellipsis))
		lines = append(lines, labelled(step.GetFound(), "found", screen, st.Dim)...)
		lines = append(lines, labelled(step.GetChanged(), "would", screen, nil)...)
		lines = append(lines, failure(step.GetError(), screen)...)
	}
	if job.GetError() != nil {
		lines = append(append(lines, ""), failure(job.GetError(), screen)...)
	}
	if Refused(job) {
		lines = append(lines, "", st.Bad(st.Glyphs.Failed)+" it would be refused")
	}
	return strings.Join(lines, "\n") + "\n"
}

// Refused says whether a plan has an error in it.
func Refused(plan *cpv1.Job) bool {
	refused := plan.GetError() != nil
	for _, step := range plan.GetSteps() {
		refused = refused || step.GetError() != nil
	}
	return refused
}

// tail is what a line has left behind a prefix; 0 when lines have no end.
func tail(columns, prefix int) int {
	if columns <= 0 {
		return 0
	}
	return max(10, columns-prefix)
}
