package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// commands is every command, the groups included.
func commands(root *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{root}
	for _, sub := range root.Commands() {
		all = append(all, commands(sub)...)
	}
	return all
}

func world(args ...string) (World, *bytes.Buffer, *bytes.Buffer) {
	var out, err bytes.Buffer
	return World{Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &err,
		Now: now, Version: "v1.2.3"}, &out, &err
}

// ours are the commands whose texts are written here: not cobra's own, and not those of the control
// plane itself.
func ours(t *testing.T) []*cobra.Command {
	t.Helper()
	w, _, _ := world()
	var some []*cobra.Command
	for _, cmd := range commands(newRoot(&cli{World: w})) {
		path := cmd.CommandPath() + " "
		if cmd.Hidden || strings.HasPrefix(path, "understudy serve ") ||
			strings.HasPrefix(path, "understudy completion ") ||
			strings.HasPrefix(path, "understudy help ") {
			continue
		}
		some = append(some, cmd)
	}
	return some
}

func TestEveryCommandTeaches(t *testing.T) {
	t.Parallel()
	for _, cmd := range ours(t) {
		path := cmd.CommandPath()
		if cmd.Short == "" || cmd.Long == "" || cmd.Long == cmd.Short {
			t.Errorf("%s: no text of its own", path)
		}
		if !cmd.HasSubCommands() && !strings.Contains(cmd.Example, "  "+path) {
			t.Errorf("%s: no example of it", path)
		}
		for _, line := range strings.Split(cmd.Long+"\n"+cmd.Example, "\n") {
			if len([]rune(line)) > 101 {
				t.Errorf("%s: a line of %d characters: %s", path, len([]rune(line)), line)
			}
		}
		if !cmd.HasSubCommands() && strings.Contains(cmd.Use, " ") && cmd.ValidArgsFunction == nil {
			t.Errorf("%s: takes a name and completes none", path)
		}
	}
}

// An example that the program itself would refuse teaches the wrong thing.
func TestExamplesAreUnderstood(t *testing.T) {
	t.Parallel()
	for _, cmd := range ours(t) {
		for line := range strings.Lines(cmd.Example) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
			for _, call := range strings.Split(line, "&&") {
				call, _, _ = strings.Cut(call, " |")
				if args := filled(split(call)); len(args) > 0 && args[0] == "understudy" {
					understood(t, args[1:])
				}
			}
		}
	}
}

// split is a line of a shell as words; quotes keep a word together.
func split(line string) []string {
	var words []string
	word, quote := "", rune(0)
	for _, r := range strings.TrimSpace(line) + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote = r
		case quote == 0 && r == ' ':
			if word != "" {
				words = append(words, word)
			}
			word = ""
		default:
			word += string(r)
		}
	}
	return words
}

// understood holds when a command line gets as far as to look for credentials, or for a state
// directory, which are not there.
func understood(t *testing.T, args []string) {
	t.Helper()
	nowhere := []string{"--credentials", filepath.Join(t.TempDir(), "none")}
	if slices.Contains(args, "--local") {
		nowhere = []string{"--address", socketScheme + "/nosuch"}
	}
	w, _, stderr := world(append(args, nowhere...)...)
	w.Stdin = strings.NewReader("")
	w.Environ = append(w.Environ, "UNDERSTUDY_STATE_DIR="+filepath.Join(t.TempDir(), "none"))
	Run(t.Context(), w)
	said := stderr.String()
	if said != "" && !strings.Contains(said, "cannot use the operator's credentials") &&
		!strings.Contains(said, "cannot ask for confirmation") &&
		!strings.Contains(said, "cannot back up "+w.getenv("UNDERSTUDY_STATE_DIR")) &&
		!strings.Contains(said, "to "+w.getenv("UNDERSTUDY_STATE_DIR")+": open") &&
		!strings.Contains(said, "cannot restore "+w.getenv("UNDERSTUDY_STATE_DIR")+
			" from a dump") &&
		!strings.Contains(said, "cannot read --credentials") &&
		!strings.Contains(said, "cannot read --file") &&
		!strings.Contains(said, "at /nosuch: ") && !strings.Contains(said, "login takes no") &&
		!strings.Contains(said, "there is no context") && !strings.Contains(said, "no contexts") {
		t.Errorf("understudy %s: %s", strings.Join(args, " "), said)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for _, cmd := range ours(t) {
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		w, stdout, stderr := world(args...)
		if code := Run(t.Context(), w); code != exitOK || stderr.Len() > 0 {
			t.Errorf("%v: exit code %d, %s", args, code, stderr)
		}
		fmt.Fprintf(&all, "$ understudy %s\n%s\n", strings.Join(args, " "), stdout)
	}
	const path = "testdata/help.golden"
	if *update {
		if err := os.WriteFile(path, []byte(all.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if all.String() != string(want) {
		t.Errorf("the help is not as in %s: -update writes it", path)
	}
}

func TestFirstRunNeedsNothing(t *testing.T) {
	t.Parallel()
	w, stdout, _ := world()
	if code := Run(t.Context(), w); code != exitOK || !strings.Contains(stdout.String(),
		"understudy replica create --of db1") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}
