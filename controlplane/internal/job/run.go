package job

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

const (
	maxTitle = 250  // bytes of a title that are kept
	maxText  = 4000 // bytes of one reason, line or error that are kept
	maxLines = 40   // lines of found or changed that are kept
)

// Run is one call of a handler: what it is for, and how it reports what it does. Its
// methods may be called from several goroutines until the handler returns.
type Run struct {
	JobID   string
	JobKind string
	Args    json.RawMessage // of the job

	Step       string // kind of the step
	Attempt    int    // from 1, in the step's whole life
	Generation int    // from 1; grows only when the step is to be done again
	// "job/step/generation": the same for every attempt; send it with every effect
	EffectKey string
	Epoch     int64  // send it with every change to an agent, which refuses lower ones
	Owner     string // this process

	Unwinding bool     // the step runs because the job failed or was cancelled
	Alone     bool     // the step runs by itself, those after it do not follow
	LeftOut   []string // kinds of the job's steps that an operator skipped
	// when this process took the job from another worker, which may have acted until then; zero
	// when no other had it
	TakenOver time.Time

	report *liveReport
	values *sessionValues
	hold   context.Context
	prove  func(context.Context) error
}

// Progress publishes how far the step has come: at once to watchers of this process, within a
// second to the store.
func (r *Run) Progress(p Progress) {
	p.Text = clip(p.Text, maxText)
	r.report.setProgress(p)
}

// Found reports what the step found. A line that is already there is not repeated.
func (r *Run) Found(format string, args ...any) {
	r.report.addFound(clip(fmt.Sprintf(format, args...), maxText))
}

// Changed reports what the step changed. A step that reports nothing here changed nothing.
func (r *Run) Changed(format string, args ...any) {
	r.report.addChanged(clip(fmt.Sprintf(format, args...), maxText))
}

// HoldContext lives as long as this process holds the job: longer than the handler's own context,
// for what Keep keeps.
func (r *Run) HoldContext() context.Context { return r.hold }

// Prove proves by the store that this process holds the job, just before an effect that a provider
// cannot refuse to a worker that lost its job: a process that was stopped for a while does not know
// yet that it did. ErrFenced.
func (r *Run) Prove(ctx context.Context) error {
	if r.prove == nil {
		return nil
	}
	if err := r.prove(ctx); err != nil {
		return fmt.Errorf("cannot prove that %s holds the job: %w", r.Owner, err)
	}
	return nil
}

// Keep ties a value to this process's hold on the job, to be found by a later step. It is closed
// when the step's section ends or starts over, when the job is released or lost, when another value
// is kept under the name, or by Drop. After a crash it is simply not there.
func (r *Run) Keep(name string, value io.Closer) { r.values.put(name, value) }

// Kept returns what an earlier step of this job kept under the name in this process.
func (r *Run) Kept(name string) (io.Closer, bool) { return r.values.get(name) }

// Drop closes and forgets what is kept under the name. It is no error when there is nothing.
func (r *Run) Drop(name string) error { return r.values.drop(name) }

func effectKey(jobID, step string, generation int) string {
	return fmt.Sprintf("%s/%s/%d", jobID, step, generation)
}

func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && s[cut]&0xC0 == 0x80 { // never in the middle of a rune
		cut--
	}
	return s[:cut] + "…"
}
