package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/device"
	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
)

// wait shows the code, and how long it is waited for, on standard error.
func (l *loggingIn) wait(ctx context.Context, code *device.Code) (token string, err error) {
	c := l.cli
	st := c.styleFor(c.Stderr)
	fmt.Fprintf(c.Stderr, "Open %s\nand confirm the code  %s\n", show.Clean(code.Address),
		st.Bold(code.Text))
	if code.Whole != "" {
		fmt.Fprintf(c.Stderr, "or open %s\n", show.Clean(code.Whole))
	}
	w := &waiting{cli: c, ends: code.Ends, live: terminal(c.Stderr) != nil}
	stop := w.begin()
	defer stop()
	return code.Wait(ctx, w.note)
}

// waiting shows how long something is waited for: counting down on a terminal, in lines elsewhere.
type waiting struct {
	cli  *cli
	ends time.Time
	live bool

	mu   sync.Mutex
	said string // the last problem
}

// begin shows it until stop is called.
func (w *waiting) begin() (stop func()) {
	if !w.live {
		fmt.Fprintf(w.cli.Stderr, "waiting until %s\n", w.ends.Local().Format(time.TimeOnly))
		return func() {}
	}
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			w.draw(fmt.Sprintf("waiting for %s", show.Duration(time.Until(w.ends).Round(
				time.Second))))
			select {
			case <-done:
				w.draw("")
				return
			case <-tick.C:
			}
		}
	})
	return func() { close(done); ended.Wait() }
}

// draw puts a text in the place of the line.
func (w *waiting) draw(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(w.cli.Stderr, "\r\x1b[K%s", text)
}

// note says why it is waited for, once for each reason.
func (w *waiting) note(problem string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if problem == w.said {
		return
	}
	w.said = problem
	clear := ""
	if w.live {
		clear = "\r\x1b[K"
	}
	fmt.Fprintf(w.cli.Stderr, "%s%s; trying again\n", clear, problem)
}
