package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// quoted is a command line in a page: between backticks, or a line of its own in a block.
var quoted = regexp.MustCompile("`(understudy [^`]+)`|(?m)^(?:sudo |\\$ )?(understudy .+)$")

// A command that a page shows is one that the program understands.
func TestCommandsOfThePagesAreUnderstood(t *testing.T) {
	t.Parallel()
	root := "../../.."
	pages, err := filepath.Glob(root + "/docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, page := range append(pages, root+"/README.md", root+"/CONTRIBUTING.md") {
		if filepath.Base(page) == "errors.md" { // which is written from the source
			continue
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range quoted.FindAllStringSubmatch(string(text), -1) {
			line, _, _ := strings.Cut(found[1]+found[2], "#")
			line, _, _ = strings.Cut(line, "|")
			for _, call := range strings.Split(line, "&&") {
				// The name of a command alone is no example of it.
				if args := filled(split(call)); len(args) > 3 && talks(args[1]) {
					t.Run(filepath.Base(page)+"/"+call,
						func(t *testing.T) { understood(t, args[1:]) })
				}
			}
		}
	}
}

// talks reports whether a command calls the control plane: no other command is run here, and least
// of all the control plane itself.
func talks(command string) bool {
	return slices.Contains([]string{"server", "replica", "snapshot", "job", "event", "audit",
		"provider", "token", "agent", "operator", "context"}, command)
}

// filled puts something where a page leaves a name open.
func filled(args []string) []string {
	args = slices.DeleteFunc(args, func(s string) bool { return strings.ContainsAny(s, "…[]") })
	for i, arg := range args {
		switch arg {
		case "STEP", "NAME", "SERVER", "PRIMARY":
			args[i] = "db1"
		case "CHAIN":
			args[i] = "servers/db1/0123456789abcdef"
		case "SEQ:HASH":
			args[i] = "7:9c1f8a6b4d2e0f13579bdf02468ace10"
		case "JOB":
			args[i] = "j-1"
		case "jobs/JOB":
			args[i] = "jobs/j-1"
		case "SNAPSHOT":
			args[i] = "snap-1"
		case "TASK":
			args[i] = "task-0123456789ab"
		}
	}
	return args
}
