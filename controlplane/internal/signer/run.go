package signer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/proto/capped"
)

// killGrace is how long a program that was killed may take to be gone; pipeGrace how long what it
// left behind may hold its output.
const (
	killGrace = 5 * time.Second
	pipeGrace = time.Second
)

// run runs the program once, in its turn.
func (p *Program) run(ctx context.Context, input []byte, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*p.config.Limit) // the wait for others with it
	defer cancel()
	if err := p.enter(ctx); err != nil {
		return nil, err
	}
	run := &oneRun{name: p.String() + " " + args[0], limit: p.config.Limit,
		done: make(chan error, 1)}
	if err := p.check(); err != nil {
		<-p.turn
		return nil, err
	}
	command := append(append([]string{}, p.config.Command[1:]...), args...)
	run.cmd = exec.Command(p.config.Command[0], command...) //nolint:gosec,noctx // the operator's
	run.out.Limit, run.said.Limit, run.out.Full = maxOutput, maxSaid, run.kill
	run.cmd.Dir, run.cmd.Stdin = "/", bytes.NewReader(input)
	run.cmd.Stdout, run.cmd.Stderr = &run.out, &run.said
	run.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	run.cmd.WaitDelay = pipeGrace
	if err := run.cmd.Start(); err != nil {
		<-p.turn
		return nil, fmt.Errorf("cannot run %s: %w", p, err)
	}
	go func() {
		err := run.wait()
		<-p.turn // whoever hangs although it was killed keeps the turn
		run.done <- err
	}()
	return run.answer(ctx)
}

// oneRun is one run of a program.
type oneRun struct {
	name      string
	limit     time.Duration
	cmd       *exec.Cmd
	out, said capped.Buffer
	done      chan error

	mu     sync.Mutex
	reaped bool // its number may be another process's
}

// kill ends the program with all that it has started.
func (r *oneRun) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.reaped && r.cmd.Process != nil {
		_ = unix.Kill(-r.cmd.Process.Pid, unix.SIGKILL)
	}
}

// wait waits for the program's end, ends what it left running, and only then gives its number up.
func (r *oneRun) wait() error {
	for {
		err := unix.Waitid(unix.P_PID, r.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	r.kill()
	r.mu.Lock()
	r.reaped = true
	r.mu.Unlock()
	return r.cmd.Wait()
}

// answer is what the program printed, within its limit.
func (r *oneRun) answer(ctx context.Context) ([]byte, error) {
	limit := time.NewTimer(r.limit)
	defer limit.Stop()
	select {
	case err := <-r.done:
		return r.ended(err)
	case <-limit.C:
	case <-ctx.Done():
	}
	cause := ctx.Err()
	r.kill()
	grace := time.NewTimer(killGrace)
	defer grace.Stop()
	select {
	case <-r.done: //nolint:errcheck // it was killed
	case <-grace.C:
		return nil, fmt.Errorf("%s hangs, and does not end when it is killed", r.name)
	}
	switch {
	case errors.Is(cause, context.Canceled):
		return nil, cause
	case cause != nil:
		return nil, fmt.Errorf("%s gave no answer in time%s", r.name, r.quoted())
	}
	return nil, fmt.Errorf("%s gave no answer within %s%s", r.name, r.limit, r.quoted())
}

func (r *oneRun) ended(err error) ([]byte, error) {
	if r.out.Overflowed() {
		return nil, fmt.Errorf("%s printed more than %d bytes", r.name, maxOutput)
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() < 0:
		return nil, fmt.Errorf("%s was ended by a signal (%s)%s", r.name,
			unix.SignalName(exit.Sys().(syscall.WaitStatus).Signal()), r.quoted())
	case errors.As(err, &exit):
		return nil, fmt.Errorf("%s failed with exit code %d%s", r.name, exit.ExitCode(), r.quoted())
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return nil, fmt.Errorf("cannot run %s: %w", r.name, err)
	case len(r.out.Bytes()) == 0:
		return nil, fmt.Errorf("%s printed nothing%s", r.name, r.quoted())
	}
	return r.out.Bytes(), nil
}

// quoted is the first line that the program said on its standard error.
func (r *oneRun) quoted() string {
	if line := firstLine(r.said.Bytes()); line != "" {
		return ": " + line
	}
	return ""
}
