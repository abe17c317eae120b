package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/follow"
	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/live"
	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// progressEvery is how often plain lines tell of progress alone.
const progressEvery = 5 * time.Second

// waitFlags say whether and how a command waits for its job.
type waitFlags struct {
	wait, detach bool
	reconnect    span
}

func (w *waitFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.wait, "wait", true, "show the job until it ends")
	cmd.Flags().BoolVarP(&w.detach, "detach", "d", false, "print the job's name and end; the job goes on (same as --wait=false)")
	cmd.MarkFlagsMutuallyExclusive("wait", "detach")
	w.addReconnect(cmd)
}

func (w *waitFlags) addReconnect(cmd *cobra.Command) {
	w.wait = true
	w.reconnect = span{value: 2 * time.Minute, max: 7 * 24 * time.Hour}
	cmd.Flags().Var(&w.reconnect, "reconnect-limit", "how long to go on when the control plane is away in the middle, for example while it restarts")
}

// ending says whether a job that rests is what the command was to bring about; nil when it is.
type ending func(job *cpv1.Job) error

// succeeded is the ending that most commands want.
func succeeded(job *cpv1.Job) error {
	if job.GetState() == cpv1.Job_STATE_SUCCEEDED {
		return nil
	}
	return jobError{show.Ended(job, show.Plain(show.ASCII()))}
}

// finish waits for a job as the flags say: it shows it until it rests, or prints its name. After a good end it tells news, if any.
func (c *cli) finish(ctx context.Context, a *api, job *cpv1.Job, w waitFlags, good ending, news func(context.Context, *cpv1.Job)) error {
	if w.detach || !w.wait {
		return c.print(job, func(show.Style) string { return show.ID(job.GetName()) + "\n" })
	}
	last, err := c.watch(ctx, a, job.GetName(), w.reconnect.value)
	if err != nil {
		return err
	}
	if err := good(last); err != nil {
		c.sayWhatNow(last)
		return err
	}
	if news != nil && !c.flags.output.json() {
		news(ctx, last)
	}
	return nil
}

// watch shows a job until it rests: live on a terminal, in lines elsewhere, as JSON when asked for.
func (c *cli) watch(ctx context.Context, a *api, name string, limit time.Duration) (*cpv1.Job, error) {
	config := follow.Config{Client: a.jobs, Name: name, Limit: limit, Now: c.Now}
	var last *cpv1.Job
	var err error
	switch file := terminal(c.Stdout); {
	case c.flags.output.json():
		config.Watcher = &jsonLines{cli: c}
		last, err = follow.Job(ctx, config)
	case file == nil || c.getenv("TERM") == "dumb":
		config.Watcher = &plainLines{cli: c}
		last, err = follow.Job(ctx, config)
		c.sayEnd(last, err)
	default:
		last, err = c.watchLive(ctx, config)
	}
	if err != nil && (ctx.Err() != nil || errors.Is(err, leftError{})) {
		c.sayLeft(name)
		return last, leftError{}
	}
	return last, watchFailed(name, err)
}

// watchFailed says what happened to the watch, and that it happened to the watch alone.
func watchFailed(name string, err error) error {
	if err == nil {
		return nil
	}
	return refused{err: fmt.Errorf("cannot watch %s any longer: %w", name, err),
		wayOut: "the job goes on without this view: watch it again with understudy job watch " + show.ID(name)}
}

func (c *cli) sayEnd(last *cpv1.Job, err error) {
	if err == nil {
		c.say("%s", show.Stamp(c.Now(), show.Ended(last, c.styleFor(c.Stdout))))
	}
}

func (c *cli) watchLive(ctx context.Context, config follow.Config) (last *cpv1.Job, err error) {
	style := c.styleFor(c.Stdout)
	view := live.New(live.Config{In: keyboard(c.Stdin), Out: c.Stdout, Environ: c.Environ, Style: style, Now: c.Now, Colour: c.colour(c.Stdout)})
	config.Watcher = view
	left, viewErr := view.Run(ctx, func(ctx context.Context) { last, err = follow.Job(ctx, config) })
	if last != nil {
		c.say("%s", show.Job(last, c.screen()))
	}
	switch {
	case left:
		return last, leftError{}
	case viewErr != nil:
		return last, fmt.Errorf("the terminal failed: %w", viewErr)
	case err != nil:
		return last, err
	}
	c.say("%s", show.Ended(last, style))
	return last, nil
}

func (c *cli) sayLeft(name string) {
	if c.flags.output.json() {
		return
	}
	id := show.ID(name)
	fmt.Fprintf(c.Stderr, "%s goes on without this view.\n  watch it again:  understudy job watch %s\n  cancel it:       understudy job cancel %s\n", id, id, id)
}

// sayWhatNow tells what can be done about a job that did not end well.
func (c *cli) sayWhatNow(job *cpv1.Job) {
	if c.flags.output.json() {
		return
	}
	id := show.ID(job.GetName())
	step := stopper(job)
	lines := [][2]string{{"all about it:", "job get " + id}}
	switch job.GetState() {
	case cpv1.Job_STATE_FAILED:
		lines = append(lines, [2]string{"go on from there:", "job retry " + id}, [2]string{"remove what it made:", "job cleanup " + id})
	case cpv1.Job_STATE_NEEDS_PERSON:
		lines = append(lines, [2]string{"try it again:", "job retry " + id},
			[2]string{"go on without it:", "job skip " + id + " " + step + " --reason WHY"}, [2]string{"give up:", "job cancel " + id})
	case cpv1.Job_STATE_CANCELLED:
		lines = append(lines, [2]string{"go on from there:", "job retry " + id}, [2]string{"remove what it made:", "job cleanup " + id})
	}
	for _, line := range lines {
		fmt.Fprintf(c.Stderr, "  %-20s  understudy %s\n", line[0], line[1])
	}
}

// stopper is the step that keeps a job from going on.
func stopper(job *cpv1.Job) string {
	for _, step := range job.GetSteps() {
		if s := step.GetState(); s == cpv1.Step_STATE_NEEDS_PERSON || s == cpv1.Step_STATE_FAILED {
			return show.Clean(step.GetName())
		}
	}
	return "STEP"
}

// plainLines tells of a job in lines with the time, one a transition.
type plainLines struct {
	cli      *cli
	last     *cpv1.Job
	progress time.Time
}

func (p *plainLines) line(text string) { p.cli.say("%s", show.Stamp(p.cli.Now(), text)) }

// Job tells what changed.
func (p *plainLines) Job(job *cpv1.Job) {
	for _, line := range show.Transitions(p.last, job) {
		p.line(line)
	}
	p.last = job
	if now := p.cli.Now(); now.Sub(p.progress) >= progressEvery {
		for _, line := range show.ProgressLines(job) {
			p.line(line)
			p.progress = now
		}
	}
}

// Lost tells that the control plane is away.
func (p *plainLines) Lost(err error, until time.Time) {
	p.line("the control plane cannot be reached (" + show.Clean(err.Error()) + "): trying again for " + show.Duration(until.Sub(p.cli.Now())))
}

// Back tells that it is back.
func (p *plainLines) Back() { p.line("the control plane is back") }

// jsonLines writes each change of a job as one line of JSON.
type jsonLines struct {
	cli  *cli
	once sync.Once
}

// Job writes the job.
func (j *jsonLines) Job(job *cpv1.Job) {
	if err := j.cli.printLine(job); err != nil {
		j.once.Do(func() { fmt.Fprintln(j.cli.Stderr, "understudy: cannot write:", err) })
	}
}

// Lost tells on standard error that the control plane is away.
func (j *jsonLines) Lost(err error, until time.Time) {
	fmt.Fprintf(j.cli.Stderr, "understudy: the control plane cannot be reached (%s): trying again for %s\n",
		show.Clean(err.Error()), show.Duration(until.Sub(j.cli.Now())))
}

// Back tells that it is back.
func (j *jsonLines) Back() { fmt.Fprintln(j.cli.Stderr, "understudy: the control plane is back") }

// keyboard is standard input when it is a terminal.
func keyboard(in any) interface{ Read([]byte) (int, error) } {
	if file := terminal(in); file != nil {
		return file
	}
	return nil
}
