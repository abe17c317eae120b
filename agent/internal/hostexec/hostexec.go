// Package hostexec runs the host's tools, and is the only place that does. There is no shell: a
// tool is searched in fixed directories, gets an argument list, a clean environment and a
// deadline, and what it may say is bounded.
package hostexec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/capped"
)

// Bounds of a run.
const (
	defaultTimeout = time.Minute
	maxOutput      = 4 << 20
	// killGrace is how long a tool that was asked to end (SIGTERM) may take before it is killed.
	killGrace = 5 * time.Second
)

// searchPath is where tools are searched, in order; PATH of the agent's own environment is not
// asked.
func searchPath() []string {
	return []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"}
}

// Config has what a Runner needs; the zero value is ready.
type Config struct {
	// Dirs are absolute directories to search for tools; the system's own by default.
	Dirs []string
	// Log gets one debug line a run; default slog.Default().
	Log *slog.Logger
}

// Runner runs tools. It is safe for concurrent use.
type Runner struct {
	dirs []string
	log  *slog.Logger
}

// New makes a Runner.
func New(config Config) (*Runner, error) {
	if config.Dirs == nil {
		config.Dirs = searchPath()
	}
	for _, dir := range config.Dirs {
		if !filepath.IsAbs(dir) {
			return nil, fmt.Errorf("cannot search for tools in %q: not an absolute directory", dir)
		}
	}
	if config.Log == nil {
		config.Log = slog.Default()
	}
	return &Runner{dirs: config.Dirs, log: config.Log}, nil
}

// Command is one run of a tool.
type Command struct {
	// Tool is its name without directory, for example "blkid".
	Tool string
	// Args are its arguments; no secret. Values that came from outside follow "--", or cannot begin
	// with a dash.
	Args []string
	// Timeout bounds the run; default one minute, -1 is no bound but the context's.
	Timeout time.Duration
	// As is the user that runs it; nil is the agent's own.
	As *atomicfile.Owner
	// OKCodes are exit codes besides 0 that are no error.
	OKCodes []int
}

// Result is how a run ended.
type Result struct {
	// Stdout and Stderr are what it said, cut at 4 MiB each.
	Stdout, Stderr []byte
	// Code is its exit code.
	Code int
	// Took is how long it ran.
	Took time.Duration
}

// ErrToolMissing is answered when the host has no such tool.
var ErrToolMissing = errors.New("the tool is not installed")

// Look is the absolute path of the tool, or ErrToolMissing.
func (r *Runner) Look(tool string) (string, error) {
	if tool == "" || strings.ContainsAny(tool, "/\x00") {
		return "", fmt.Errorf("%q is not a tool's name", tool)
	}
	for _, dir := range r.dirs {
		path := filepath.Join(dir, tool)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() &&
			info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("cannot run %s: %w", tool, ErrToolMissing)
}

// Run runs the tool to its end. A run that ended otherwise than with an accepted exit code is an
// *ExitError, and the Result is filled in as well; a run that ended because its time was over wraps
// context.DeadlineExceeded.
func (r *Runner) Run(ctx context.Context, command Command) (Result, error) {
	path, err := r.Look(command.Tool)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := bound(ctx, command.Timeout)
	defer cancel()
	out, errOut := &capped.Buffer{Limit: maxOutput}, &capped.Buffer{Limit: maxOutput}
	cmd := build(ctx, path, command)
	cmd.Stdout, cmd.Stderr = out, errOut
	start := time.Now()
	runErr := cmd.Run()
	result := Result{Stdout: out.Bytes(), Stderr: errOut.Bytes(), Code: exitCode(cmd),
		Took: time.Since(start)}
	r.log.Debug("ran a tool", "tool", command.Tool, "code", result.Code, "took", result.Took)
	return result, classify(ctx, command, result, runErr)
}

func bound(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	switch {
	case timeout < 0:
		return context.WithCancel(ctx)
	case timeout == 0:
		timeout = defaultTimeout
	}
	return context.WithTimeout(ctx, timeout)
}

func build(ctx context.Context, path string, command Command) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, command.Args...)
	cmd.Env = []string{"LC_ALL=C", "PATH=" + strings.Join(searchPath(), ":"), "HOME=/", "TERM=dumb"}
	cmd.Dir = "/"
	// A group of its own, so that the children of a tool end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if as := command.As; as != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(as.UID), Gid: uint32(as.GID)}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = killGrace
	return cmd
}

func exitCode(cmd *exec.Cmd) int {
	if cmd.ProcessState == nil {
		return -1
	}
	return cmd.ProcessState.ExitCode()
}

func classify(ctx context.Context, command Command, result Result, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("cannot finish %s, ended after %s: %w", command.Tool,
			result.Took.Round(time.Millisecond), ctx.Err())
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("cannot run %s: %w", command.Tool, err)
	}
	for _, code := range command.OKCodes {
		if result.Code == code {
			return nil
		}
	}
	failure := &ExitError{Tool: command.Tool, Code: result.Code, Output: lastLines(result)}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		failure.Signal = status.Signal().String()
	}
	return failure
}
