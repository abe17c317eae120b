package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/term"
	"google.golang.org/grpc"
)

var update = flag.Bool("update", false,
	"write what the program says into the scripts and golden files")

func TestMain(m *testing.M) {
	// Scripts wait most of their time, for what is looked at once a second.
	if err := flag.Set("test.parallel", strconv.Itoa(4*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
	time.Local = time.UTC // commands run in this process, too
	testscript.Main(m, map[string]func(){
		"understudy": func() { os.Exit(runProcess()) },
	})
}

// now is before anything of a test happened, so that ages are always the same.
func now() time.Time { return time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC) }

// runProcess is main as scripts run it.
func runProcess() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return runScripted(ctx, World{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout,
		Stderr: os.Stderr, Environ: os.Environ()}, term.IsTerminal(int(os.Stdout.Fd())))
}

// runScripted runs a command with a clock of its own, or with the right one where CLOCK is set.
// What is sent goes to the file SENT, too, and what is printed is the same in each run unless RAW
// is set or it is for a terminal.
func runScripted(ctx context.Context, w World, terminal bool) int {
	w.Now, w.Version = now, "v1.2.3"
	if w.getenv("CLOCK") != "" {
		w.Now = time.Now
	}
	sent := w.getenv("SENT")
	stale, _ := strconv.Atoi(w.getenv("STALE"))
	w.Tap = func(to grpc.ClientConnInterface) grpc.ClientConnInterface {
		return tapped{to, sent, &stale, w.getenv("HANGS")}
	}
	if w.getenv("RAW") == "" && !terminal {
		out := &scrubbed{to: w.Stdout, moving: slices.Concat(ids, times)}
		err := &scrubbed{to: w.Stderr, moving: out.moving}
		if len(w.Args) > 0 && slices.Contains([]string{"job", "snapshot"}, w.Args[0]) {
			out.moving = slices.Concat(out.moving, columns)
		}
		defer out.flush()
		defer err.flush()
		w.Stdout, w.Stderr = out, err
	}
	return Run(ctx, w)
}

// run runs a command of a script in the process of the test, where it costs a tenth of one of its
// own, and returns its exit code. What names a file by a relative path is for exec: a process has
// the folder of the script.
func run(ts *testscript.TestScript, args []string) int {
	return runScripted(context.Background(), World{Args: args, Stdin: strings.NewReader(""),
		Stdout: ts.Stdout(), Stderr: ts.Stderr(), Environ: scriptEnv(ts)}, false)
}

// succeeds runs a command that has to succeed: run understudy ARGS...
func succeeds(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: run understudy ARGS...")
	}
	if code := run(ts, args[1:]); code != exitOK {
		ts.Fatalf("exit code %d", code)
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	cmds := actions()
	cmds["run"], cmds["exits"] = succeeds, exits
	cmds["acts"], cmds["on-terminal"] = acts, onTerminal
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update, RequireExplicitExec: true,
		Cmds: cmds,
		Setup: func(env *testscript.Env) error {
			env.Values["scene"] = newScene(env)
			env.Setenv("SENT", filepath.Join(env.WorkDir, "sent"))
			env.Setenv("TZ", "UTC")
			env.Setenv("LANG", "C.UTF-8")
			env.Setenv("TERM", "xterm-256color")
			env.Setenv("COLUMNS", "100")
			return nil
		},
	})
}

// exits runs a command and wants that exit code: exits 2 understudy server get, or, in a process of
// its own, exits 2 exec understudy server get.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE [exec] understudy ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := codeOf(ts, args[1:]); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func codeOf(ts *testscript.TestScript, args []string) int {
	if args[0] != "exec" {
		return run(ts, args[1:])
	}
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	ts.Fatalf("%v", err)
	return exitFailed
}

// acts runs a command, acts on what it prints, and wants an exit code:
//
//	acts CODE TEXT ACTION [TEXT ACTION]... understudy ARGS...
//
// A text is a regular expression. An action is "interrupt", or a command of the script, such as
// "host db2 stop". The outputs become the files out and err.
func acts(ts *testscript.TestScript, neg bool, args []string) {
	begin := slices.Index(args, "understudy")
	if neg || begin < 3 || begin%2 == 0 {
		ts.Fatalf("usage: acts CODE TEXT ACTION [TEXT ACTION]... understudy ARGS...")
	}
	program, err := exec.LookPath("understudy")
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args[begin+1:]...)
	cmd.Env = scriptEnv(ts)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	said := ""
	for i := 1; i < begin; i += 2 {
		said += readUntil(out, args[i])
		if args[i+1] == "interrupt" {
			ts.Check(cmd.Process.Signal(os.Interrupt))
			continue
		}
		act(ts, args[i+1])
	}
	rest, _ := io.ReadAll(out)
	_ = cmd.Wait()
	ts.Check(os.WriteFile(ts.MkAbs("out"), append([]byte(said), rest...), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("err"), []byte(stderr.String()), 0o600))
	if code := strconv.Itoa(cmd.ProcessState.ExitCode()); code != args[0] {
		ts.Fatalf("exit code %s, want %s\n%s%s%s", code, args[0], said, rest, stderr.String())
	}
}

// act does what a line of a script would.
func act(ts *testscript.TestScript, line string) {
	words := strings.Fields(line)
	if do := actions()[words[0]]; do != nil {
		do(ts, false, words[1:])
		return
	}
	ts.Fatalf("there is no action %s", line)
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

// actions are what scripts do to the world of their control plane.
func actions() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){"plane": plane, "cloud": cloud,
		"host": onHost, "jobof": jobOf, "observed": observed, "keep": keep}
}
