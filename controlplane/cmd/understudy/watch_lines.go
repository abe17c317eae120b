package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// progressEvery is how often plain lines tell of progress alone.
const progressEvery = 5 * time.Second

// plainLines tells of a job in lines with the time, one a transition.
type plainLines struct {
	cli      *cli
	last     *cpv1.Job
	begun    bool
	progress time.Time
}

func (p *plainLines) line(text string) { p.cli.say("%s", show.Stamp(p.cli.Now(), text)) }

// Job tells what changed.
func (p *plainLines) Job(job *cpv1.Job) {
	if !p.begun {
		p.line(show.Headline(job))
		p.begun = true
	}
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
func (p *plainLines) Lost(err error, limit time.Duration) {
	p.line("the control plane cannot be reached (" + show.Clean(err.Error()) +
		"): trying again for " + show.Duration(limit))
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
func (j *jsonLines) Lost(err error, limit time.Duration) {
	fmt.Fprintf(j.cli.Stderr,
		"understudy: the control plane cannot be reached (%s): trying again for %s\n",
		show.Clean(err.Error()), show.Duration(limit))
}

// Back tells that it is back.
func (j *jsonLines) Back() { fmt.Fprintln(j.cli.Stderr, "understudy: the control plane is back") }
