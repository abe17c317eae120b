package kit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/loop"
)

// Call is one call of a step's handler, with all that it works with.
type Call struct {
	*job.Run
	*Kit
	recording
	Args Args   // the job's, decoded; Typed hands them to a step
	dry  *lines // of a dry run; nil for a real call
}

func (k *Kit) newCall(run *job.Run, args Args) *Call {
	return &Call{Run: run, Kit: k, recording: recording{run, k.Now}, Args: args}
}

// recording makes the commits that say in the records what the step found or did.
type recording struct {
	run *job.Run
	now func() time.Time
}

// lines are what a dry run has to say about a step.
type lines struct{ found []string }

// Found tells operators what the step found.
func (c *Call) Found(format string, args ...any) {
	if c.dry != nil {
		c.dry.found = append(c.dry.found, Sprintf(format, args...))
		return
	}
	c.Run.Found(format, args...)
}

// call runs a handler and turns its error into what the engine understands: a wait, a failure, or
// the end.
func (k *Kit) call(ctx context.Context, kind Kind, run *job.Run, h Handler) (Outcome, error) {
	args, err := kind.Decode(run.Args)
	if err != nil {
		return Outcome{}, job.Permanent(err)
	}
	c := k.newCall(run, args)
	out, err := h(ctx, c)
	if err == nil || ctx.Err() != nil {
		return out, err
	}
	if errors.Is(err, provider.ErrRefused) {
		hint := Hint("have the step done again to be asked again", RedoThis(c.Step))
		if len(kind.Cleanup) > 0 {
			hint = Hint("have the step done again to be asked again, or remove what the job made",
				RedoThis(c.Step), CleanUpThis())
		}
		return AskOperator(err.Error(), hint)
	}
	if after, ok := Pause(err); ok {
		if gone := c.WhyAway(ctx, err); gone != nil {
			return Outcome{}, explain(gone)
		}
		if off := c.whyStopped(ctx, err); off != nil {
			return Outcome{}, explain(off)
		}
		again, _ := job.Again[Records](max(after, k.Poll), "%s", err.Error())
		var own Waiting
		if errors.As(err, &own) && own.Commit != nil {
			again = again.With(explained(own.Commit))
		}
		return again, nil
	}
	return Outcome{}, explain(err)
}

// Waiting is an error by which a helper, deep in a handler, makes the step wait instead of fail.
type Waiting struct {
	Reason string
	Commit Commit // of the wait's own; may be nil
}

// Error is what is waited for.
func (w Waiting) Error() string { return w.Reason }

// Wait makes the step wait from within a helper.
func Wait(format string, args ...any) error { return Waiting{Reason: fmt.Sprintf(format, args...)} }

// Again waits; the step is called again after a poll, or when it is woken.
func (c *Call) Again(format string, args ...any) (Outcome, error) {
	return job.Again[Records](c.Poll, format, args...)
}

// PollOnce is the wait within a call, where there is no event to wait for.
func (c *Call) PollOnce(ctx context.Context) error { return loop.Pause(ctx, c.Poll) }

// LeftFor is the time that a long call of an agent may take: a little less than the attempt still
// has, at most the agent's limit.
func (c *Call) LeftFor(ctx context.Context) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return time.Hour
	}
	left := time.Until(end)
	return max(min(left-left/10, 6*time.Hour), time.Second)
}

// FencingToken says on whose behalf a change is made.
func (c *Call) FencingToken() FencingToken {
	return FencingToken{Job: "jobs/" + c.JobID, Epoch: c.Epoch, EffectKey: c.EffectKey}
}

// Making is the server that the job makes; empty when it makes none.
func (c *Call) Making() string { return makes(c.Args) }

// Say tells watchers what goes on.
func (c *Call) Say(line string) { c.Progress(job.Progress{Text: line}) }

// ChangedAll tells what an agent changed, one line each.
func (c *Call) ChangedAll(what string, changes []string) {
	for _, change := range changes {
		c.Changed("%s: %s", what, change)
	}
}

// Skipped reports whether an operator skipped a step of the job.
func (c *Call) Skipped(step string) bool { return slices.Contains(c.LeftOut, step) }

// Tags are put on what this step makes at the provider.
func (c *Call) Tags(server, role string) map[string]string {
	return map[string]string{
		TagFleet: c.Fleet, TagJob: c.JobID, TagStep: c.EffectKey, TagServer: server,
		TagRole: role,
	}
}

// Made finds what was made at the provider with these tags and the fleet's, by earlier workers of
// the job too.
func (c *Call) Made(tags map[string]string) provider.Filter {
	tags[TagFleet] = c.Fleet
	return provider.Filter{Tags: tags, MadeUntil: c.TakenOver}
}

// OperatorCopyTime is the least time that an operator needs to copy a volume; manual is false for a
// provider that takes snapshots by itself.
func (k *Kit) OperatorCopyTime() (least time.Duration, manual bool) {
	p, manual := k.Provider.(provider.Manual)
	if !manual {
		return 0, false
	}
	return p.SnapshotTime(), true
}
