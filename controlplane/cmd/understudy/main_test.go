package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/fakecp"
)

var update = flag.Bool("update", false,
	"write what the program says into the scripts and golden files")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"understudy":      func() { os.Exit(runAt(fakecp.Now)) },
		"understudy-fake": fakeByHand,
	})
}

// runAt is main with a clock of its own, so that ages are always the same.
func runAt(now func() time.Time) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return Run(ctx, World{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Environ: os.Environ(), Now: now, Version: "v1.2.3"})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update, RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits,
			"nothing-sent": nothingSent, "interrupts": interrupts, "on-terminal": onTerminal},
		Setup: func(env *testscript.Env) error {
			dir := filepath.Join(env.WorkDir, "operator")
			fake := fakecp.Start(env.T().(testing.TB),
				fakecp.Config{Dir: dir, Log: filepath.Join(env.WorkDir, "sent")})
			env.Setenv("UNDERSTUDY_ADDRESS", fake.Address())
			env.Setenv("UNDERSTUDY_CREDENTIALS", dir)
			env.Setenv("TZ", "UTC")
			env.Setenv("LANG", "C.UTF-8")
			env.Setenv("TERM", "xterm-256color")
			env.Setenv("COLUMNS", "100")
			return nil
		},
	})
}

// exits runs a command and wants that exit code: exits 2 understudy server get.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// nothingSent wants that no request reached the control plane since the script began.
func nothingSent(ts *testscript.TestScript, neg bool, _ []string) {
	if sent, err := os.ReadFile(ts.MkAbs("sent")); neg || err == nil {
		ts.Fatalf("the control plane got requests: %s", sent)
	}
}

// interrupts starts a command, sends it an interrupt once it has printed a text, and wants exit
// code 130. Its outputs become the files out and err.
func interrupts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: interrupts TEXT PROGRAM ARGS...")
	}
	program, err := exec.LookPath(args[1])
	ts.Check(err)
	cmd := exec.Command(program, args[2:]...)
	cmd.Env = scriptEnv(ts)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	said := readUntil(out, args[0])
	ts.Check(cmd.Process.Signal(os.Interrupt))
	rest, _ := io.ReadAll(out)
	_ = cmd.Wait()
	ts.Check(os.WriteFile(ts.MkAbs("out"), append([]byte(said), rest...), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("err"), []byte(stderr.String()), 0o600))
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		ts.Fatalf("exit code %d, want %d\n%s%s", code, exitInterrupted, said, stderr.String())
	}
}

// readUntil reads until a text appears, a regular expression.
func readUntil(out io.Reader, text string) string {
	var said strings.Builder
	buffer := make([]byte, 4096)
	for wanted := regexp.MustCompile(text); !wanted.MatchString(said.String()); {
		n, err := out.Read(buffer)
		said.Write(buffer[:n])
		if err != nil {
			break
		}
	}
	return said.String()
}

// fakeByHand is a fake control plane to look at the views with: link the test program under this
// name and start it, the folder for the credentials as its argument.
func fakeByHand() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	fake := fakecp.Start(handTB{}, fakecp.Config{Dir: os.Args[1], Pace: 700 * time.Millisecond,
		Away: 4 * time.Second})
	fmt.Printf("export UNDERSTUDY_ADDRESS=%s UNDERSTUDY_CREDENTIALS=%s\n", fake.Address(),
		os.Args[1])
	<-ctx.Done()
	fake.Stop()
}

// handTB stands in for a test where there is none.
type handTB struct{ testing.TB }

func (handTB) Helper()        {}
func (handTB) Cleanup(func()) {}
func (handTB) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}
