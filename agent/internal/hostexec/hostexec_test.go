package hostexec_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
)

func runner(t *testing.T) *hostexec.Runner {
	t.Helper()
	r, err := hostexec.New(hostexec.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRun(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		command  hostexec.Command
		stdout   string
		code     int
		isExit   bool
		contains string
	}{
		"output": {command: hostexec.Command{Tool: "echo",
			Args: []string{"$HOME; `id`"}}, stdout: "$HOME; `id`\n"},
		"stdin": {command: hostexec.Command{Tool: "cat"}},
		"exit code": {command: hostexec.Command{Tool: "false"}, code: 1, isExit: true,
			contains: "false failed with exit code 1"},
		"accepted exit code": {command: hostexec.Command{Tool: "false", OKCodes: []int{1}},
			code: 1},
		"last words": {command: hostexec.Command{Tool: "ls",
			Args: []string{"--", "/no/such"}}, code: 2, isExit: true, contains: "No such file"},
		"clean environment": {command: hostexec.Command{Tool: "printenv",
			Args: []string{"LC_ALL"}}, stdout: "C\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result, err := runner(t).Run(t.Context(), test.command)
			if code, isExit := hostexec.CodeOf(err); isExit != test.isExit || isExit &&
				code != test.code {
				t.Fatalf("err = %v, want exit error %v with code %d", err, test.isExit, test.code)
			}
			if err != nil && !strings.Contains(err.Error(), test.contains) {
				t.Errorf("err = %v, want %q in it", err, test.contains)
			}
			if got := string(result.Stdout); got != test.stdout {
				t.Errorf("stdout = %q, want %q", got, test.stdout)
			}
			if result.Code != test.code {
				t.Errorf("code = %d, want %d", result.Code, test.code)
			}
		})
	}
}

func TestTheEnvironmentOfTheAgentIsNotHandedOn(t *testing.T) {
	t.Setenv("UNDERSTUDY_SECRET", "x")
	result, err := runner(t).Run(t.Context(), hostexec.Command{Tool: "env"})
	if err != nil || strings.Contains(string(result.Stdout), "UNDERSTUDY_SECRET") {
		t.Fatalf("environment: %s, %v", result.Stdout, err)
	}
}

func TestAToolThatIsNotThere(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"no-such-tool", "../bin/sh", "", "/bin/sh"} {
		if _, err := runner(t).Run(t.Context(), hostexec.Command{Tool: tool}); err == nil {
			t.Errorf("%q ran", tool)
		}
	}
	if _, err := runner(t).Look("no-such-tool"); !errors.Is(err, hostexec.ErrToolMissing) {
		t.Errorf("Look = %v, want ErrToolMissing", err)
	}
}

func TestARunEndsWithItsTime(t *testing.T) {
	t.Parallel()
	start := time.Now()
	_, err := runner(t).Run(t.Context(), hostexec.Command{Tool: "sleep", Args: []string{"60"},
		Timeout: 50 * time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Minute {
		t.Fatalf("err = %v after %s", err, time.Since(start))
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	var got []string
	err := runner(t).Lines(t.Context(), hostexec.Command{Tool: "seq", Args: []string{"3"}},
		func(line []byte) error {
			got = append(got, string(line))
			return nil
		})
	if err != nil || strings.Join(got, ",") != "1,2,3" {
		t.Fatalf("lines = %v, %v", got, err)
	}
}

func TestLinesEndWhenTheReaderHasEnough(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	err := runner(t).Lines(t.Context(), hostexec.Command{Tool: "yes", Timeout: -1},
		func([]byte) error { return enough })
	if !errors.Is(err, enough) {
		t.Fatalf("err = %v, want %v", err, enough)
	}
}

func TestLinesEndWithTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	err := runner(t).Lines(ctx, hostexec.Command{Tool: "yes", Timeout: -1},
		func([]byte) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("err = %v, want Canceled", err)
	}
}

// What a tool says past the bound is read, and not kept.
func TestWhatAToolSaysIsBounded(t *testing.T) {
	t.Parallel()
	result, err := runner(t).Run(t.Context(), hostexec.Command{Tool: "head",
		Args: []string{"-c", "9000000", "/dev/zero"}})
	if err != nil || len(result.Stdout) != 4<<20 {
		t.Errorf("%d bytes are kept: %v", len(result.Stdout), err)
	}
}
