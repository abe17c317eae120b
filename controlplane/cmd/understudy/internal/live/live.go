// Package live shows a job on a terminal while it runs, and lets a person leave without stopping
// it.
package live

import (
	"context"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Config says where a view is drawn. Out and Style have no default.
type Config struct {
	// In is the terminal's keyboard; nil when there is none, then only the end of ctx leaves the
	// view.
	In io.Reader
	// Out is the terminal.
	Out io.Writer
	// Environ is the environment, which says what the terminal can do.
	Environ []string
	// Style is how texts look.
	Style show.Style
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Colour is false when no colour is to be used, whatever the terminal can do.
	Colour bool
}

// View is a job's live view.
type View struct {
	program *tea.Program
}

// New makes a view; nothing is drawn before Run.
func New(config Config) *View {
	if config.Now == nil {
		config.Now = time.Now
	}
	options := []tea.ProgramOption{
		tea.WithInput(config.In), tea.WithOutput(config.Out), tea.WithEnvironment(config.Environ),
		tea.WithoutSignalHandler(), tea.WithFPS(20),
	}
	if !config.Colour {
		options = append(options, tea.WithColorProfile(colorprofile.ASCII))
	}
	return &View{program: tea.NewProgram(model{style: config.Style, now: config.Now}, options...)}
}

// Run draws until work returns, the person leaves or ctx ends; in the latter two cases work's own
// context ends, and left is true. It takes what it drew away again: the caller prints how it ended.
func (v *View) Run(ctx context.Context, work func(context.Context)) (left bool, err error) {
	working, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(working)
		v.program.Send(endMsg{})
	}()
	leave := context.AfterFunc(ctx, func() { v.program.Send(leaveMsg{}) })
	defer leave()
	last, err := v.program.Run()
	stop()
	<-done
	if m, ok := last.(model); ok && m.left {
		return true, nil
	}
	return ctx.Err() != nil, err
}

// Job is the job as it is now.
func (v *View) Job(job *cpv1.Job) { v.program.Send(jobMsg{job}) }

// Lost says that the control plane cannot be reached.
func (v *View) Lost(_ error, limit time.Duration) { v.program.Send(lostMsg{limit}) }

// Back says that it can be reached again.
func (v *View) Back() { v.program.Send(backMsg{}) }
