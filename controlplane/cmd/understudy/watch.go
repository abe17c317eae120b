package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/follow"
	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/live"
	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// waitFlags say whether and how a command waits for its job.
type waitFlags struct {
	wait, detach bool
	reconnect    span
}

func (w *waitFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.wait, "wait", true, "show the job until it ends")
	cmd.Flags().BoolVarP(&w.detach, "detach", "d", false,
		"print the job's name and exit; same as --wait=false")
	w.addReconnect(cmd)
}

func (w *waitFlags) check(cmd *cobra.Command) error {
	if w.detach && cmd.Flags().Changed("wait") {
		return usageError{message: "--wait and --detach exclude each other"}
	}
	return nil
}

func (w *waitFlags) addReconnect(cmd *cobra.Command) {
	w.wait = true
	w.reconnect = span{value: 2 * time.Minute, max: 7 * 24 * time.Hour}
	cmd.Flags().Var(&w.reconnect, "reconnect-limit",
		"how long to wait for a control plane that stops answering")
}

// outcome is what came of what a command asked for, in a sentence.
type outcome struct {
	good bool
	line string
}

// ending says what came of it, once the job rests.
type ending func(job *cpv1.Job) outcome

// succeeded is the ending that most commands want.
func succeeded(job *cpv1.Job) outcome {
	return outcome{good: job.GetState() == cpv1.Job_STATE_SUCCEEDED, line: show.Ended(job)}
}

// finish waits for a job as the flags say: it shows it until it rests, or prints its name. After a
// good end it prints news, if any.
func finish(ctx context.Context, c *cli, a *api, job *cpv1.Job, w waitFlags, end ending,
	news func(context.Context, *api, *cpv1.Job)) error {
	if w.detach || !w.wait {
		return c.print(job, func(show.Style) string { return show.ID(job.GetName()) + "\n" })
	}
	last, err := watch(ctx, c, a, job, w.reconnect.value)
	if err != nil {
		return err
	}
	came := end(last)
	sayOutcome(c, last, came)
	if !came.good {
		sayWhatNow(ctx, c, a, last)
		return jobError{came.line}
	}
	if news != nil && !c.structured() {
		news(ctx, a, last)
	}
	return nil
}

func sayOutcome(c *cli, job *cpv1.Job, came outcome) {
	st := c.styleFor(c.Stdout)
	sign := st.Bad(st.Glyphs.Failed)
	switch {
	case came.good:
		sign = st.Good(st.Glyphs.Done)
	case job.GetState() == cpv1.Job_STATE_ACTION_REQUIRED:
		sign = st.Warn(st.Glyphs.Question)
	}
	line := sign + " " + came.line
	if !c.livelike() {
		line = show.Stamp(c.Now(), line)
	}
	c.say("%s", line)
}

// livelike holds where jobs are drawn and redrawn, and not printed in lines.
func (c *cli) livelike() bool {
	return terminal(c.Stdout) != nil && c.getenv("TERM") != "dumb" && !c.structured()
}

// watch shows a job until it rests: live on a terminal, in lines elsewhere, as JSON when asked for.
// What it was before is known: lines tell what changes from then on.
func watch(ctx context.Context, c *cli, a *api, before *cpv1.Job,
	limit time.Duration) (last *cpv1.Job, err error) {
	name := before.GetName()
	config := follow.Config{Client: a.JobServiceClient, Name: name, Limit: limit}
	switch {
	case c.livelike():
		last, err = watchLive(ctx, c, config)
	case c.structured():
		config.Watcher = &jsonLines{cli: c}
		last, err = follow.Job(ctx, config)
	default:
		config.Watcher = &plainLines{cli: c, last: before}
		last, err = follow.Job(ctx, config)
	}
	if err != nil && (ctx.Err() != nil || errors.Is(err, leftError{})) {
		sayLeft(c, name)
		return last, leftError{}
	}
	return last, watchFailed(name, err)
}

// watchFailed says what happened to the watch, and that it happened to the watch alone.
func watchFailed(name string, err error) error {
	if err == nil {
		return nil
	}
	return noted{err: fmt.Errorf("cannot watch %s any longer: %w", name, err),
		note: "the job goes on; watch it again with `understudy job watch " + show.ID(name) + "`"}
}

func watchLive(ctx context.Context, c *cli, config follow.Config) (last *cpv1.Job, err error) {
	style := c.styleFor(c.Stdout)
	view := live.New(live.Config{In: keyboard(c.Stdin), Out: c.Stdout, Environ: c.Environ,
		Style: style, Now: c.Now, Colour: c.colour(c.Stdout)})
	config.Watcher = view
	left, viewErr := view.Run(ctx,
		func(ctx context.Context) { last, err = follow.Job(ctx, config) })
	if last != nil {
		c.say("%s", show.Job(last, c.screen()))
	}
	switch {
	case left:
		return last, leftError{}
	case viewErr != nil:
		return last, fmt.Errorf("the terminal failed: %w", viewErr)
	default:
		return last, err
	}
}

func sayLeft(c *cli, name string) {
	if c.structured() {
		return
	}
	id := show.ID(name)
	fmt.Fprintf(c.Stderr, "%s goes on.\n  watch it again:  understudy job "+
		"watch %s\n  cancel it:       understudy job cancel %s\n", id, id, id)
}

// sayWhatNow tells what can be done about a job that did not end well.
func sayWhatNow(ctx context.Context, c *cli, a *api, job *cpv1.Job) {
	if c.structured() {
		return
	}
	id := show.ID(job.GetName())
	step := stopper(job)
	lines := [][2]string{{"all about it:", "job get " + id}}
	switch job.GetState() {
	case cpv1.Job_STATE_FAILED, cpv1.Job_STATE_CANCELLED:
		lines = append(lines, [2]string{"go on from there:", "job retry " + id})
		if leftSomething(ctx, a, job) {
			lines = append(lines, [2]string{"remove what it made:", "job cleanup " + id})
		}
	case cpv1.Job_STATE_ACTION_REQUIRED:
		lines = append(lines, [2]string{"try it again:", "job retry " + id},
			[2]string{"go on without it:", "job skip " + id + " " + step + " --reason WHY"},
			[2]string{"give up:", "job cancel " + id})
	case cpv1.Job_STATE_SUCCEEDED:
		lines = append(lines,
			[2]string{"try the step again:", "job retry " + id + " --step " + step})
	}
	for _, line := range lines {
		fmt.Fprintf(c.Stderr, "  %-20s  understudy %s\n", line[0], line[1])
	}
}

// leftSomething says whether a clean-up would find something to remove: not every job makes
// something.
func leftSomething(ctx context.Context, a *api, job *cpv1.Job) bool {
	plan, err := a.CleanupJob(ctx, &cpv1.CleanupJobRequest{Name: job.GetName(),
		ValidateOnly: true})
	if err != nil {
		return errs.KindOf(err) != errs.FailedPrecondition
	}
	return slices.ContainsFunc(cleanupPlan(job, plan.GetJob()).GetSteps(),
		func(step *cpv1.Step) bool { return len(step.GetChanged()) > 0 })
}

// stopper is the step that keeps a job from going on.
func stopper(job *cpv1.Job) string {
	for _, step := range job.GetSteps() {
		switch step.GetState() {
		case cpv1.Step_STATE_ACTION_REQUIRED, cpv1.Step_STATE_FAILED:
			return show.Clean(step.GetName())
		}
	}
	return "STEP"
}

// keyboard is standard input when it is a terminal.
func keyboard(in any) interface{ Read([]byte) (int, error) } {
	if file := terminal(in); file != nil {
		return file
	}
	return nil
}
