package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// onTerminal runs a command on a terminal of COLUMNS columns and 40 lines, types keys once it has
// shown a text, and wants an exit code:
//
//	on-terminal CODE TEXT [ACTION TEXT]... KEYS understudy ARGS...
//
// What it showed becomes the file raw, and without the control sequences the file screen.
// Nothing is typed when TEXT is empty. For actions see acts.
func onTerminal(ts *testscript.TestScript, neg bool, args []string) {
	begin := slices.Index(args, "understudy")
	if neg || begin < 3 || begin%2 == 0 {
		ts.Fatalf("usage: on-terminal CODE TEXT [ACTION TEXT]... KEYS understudy ARGS...")
	}
	program, err := exec.LookPath("understudy")
	ts.Check(err)
	keyboard, screen, err := openTerminal(ts.Getenv("COLUMNS"))
	ts.Check(err)
	defer keyboard.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args[begin+1:]...)
	cmd.Env = scriptEnv(ts)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = screen, screen, screen
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ts.Check(cmd.Start())
	ts.Check(screen.Close())
	shown := readUntil(keyboard, args[1])
	for i := 2; i < begin-1; i += 2 {
		act(ts, args[i])
		shown += readUntil(keyboard, args[i+1])
	}
	if args[1] != "" {
		keys, err := strconv.Unquote(`"` + args[begin-1] + `"`)
		ts.Check(err)
		_, err = keyboard.WriteString(keys)
		ts.Check(err)
	}
	rest, err := io.ReadAll(keyboard)
	// EIO is how a terminal says that nobody is left
	if err != nil && !errors.Is(err, syscall.EIO) {
		ts.Fatalf("%v", err)
	}
	_ = cmd.Wait()
	ts.Check(os.WriteFile(ts.MkAbs("raw"), []byte(shown+string(rest)), 0o600))
	text := strings.ReplaceAll(ansi.Strip(shown+string(rest)), "\r", "")
	ts.Check(os.WriteFile(ts.MkAbs("screen"), []byte(text), 0o600))
	if code := strconv.Itoa(cmd.ProcessState.ExitCode()); code != args[0] {
		ts.Fatalf("exit code %s, want %s\n%s", code, args[0], text)
	}
}

func openTerminal(columns string) (keyboard, screen *os.File, err error) {
	width, err := strconv.ParseUint(columns, 10, 16)
	if err != nil {
		return nil, nil, err
	}
	keyboard, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(keyboard.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	err = errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0),
		unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: uint16(width)}))
	if err != nil {
		return nil, nil, errors.Join(err, keyboard.Close())
	}
	screen, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	return keyboard, screen, err
}

// scriptEnv is all of a script's environment that a command reads.
func scriptEnv(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"UNDERSTUDY_ADDRESS", "UNDERSTUDY_CREDENTIALS",
		"UNDERSTUDY_CONTEXT", "HOME", "SENT", "RAW", "STALE", "HANGS", "CLOCK", "TZ", "LANG",
		"TERM", "NO_COLOR"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return env
}
