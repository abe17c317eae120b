package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// screen is where the demo prints to.
type screen struct {
	out io.Writer
	// styled says that escape codes are understood and wanted.
	styled bool
}

func stdout() screen {
	return screen{out: os.Stdout, styled: os.Getenv("NO_COLOR") == "" &&
		os.Getenv("TERM") != "dumb" && term.IsTerminal(int(os.Stdout.Fd()))}
}

func (s screen) say(format string, args ...any) {
	text := fmt.Sprintf("▌ "+format, args...)
	if s.styled {
		text = "\033[1m" + text + "\033[0m"
	}
	fmt.Fprintf(s.out, "\n%s\n", text)
}

func (s screen) printf(format string, args ...any) { fmt.Fprintf(s.out, format, args...) }

// forPrograms is what a program gets for its output: a terminal only where escape codes are wanted,
// because the live view of a job draws with them.
func (s screen) forPrograms() io.Writer {
	if s.styled {
		return s.out
	}
	return struct{ io.Writer }{s.out}
}

// slow does something that prints nothing, and says what goes on after 2 seconds and then every 10.
func (s screen) slow(what string, do func() error) error {
	begin, done := time.Now(), make(chan error, 1)
	go func() { done <- do() }()
	tick := time.NewTimer(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case now := <-tick.C:
			fmt.Fprintf(s.out, "  %s (%.0f s so far)\n", what, now.Sub(begin).Seconds())
			tick.Reset(10 * time.Second)
		}
	}
}
