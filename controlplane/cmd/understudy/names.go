package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

const (
	serverKind   = "servers"
	snapshotKind = "snapshots"
	jobKind      = "jobs"
)

// The control plane has the last word on names; these keep what can never be one from being sent.
var (
	serverPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,38}[a-z0-9]$`)
	idPattern     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	stepPattern   = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	optionPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)
	imagePattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$`)
)

// serverID is the id in a server's name as people write it, "db1" or "servers/db1".
func serverID(text string) (string, error) {
	id := strings.TrimPrefix(text, serverKind+"/")
	if !serverPattern.MatchString(id) {
		return "", usageError{
			message: quote(text) + " cannot be the name of a server",
			hint: "use 2 to 40 lower-case letters, digits and dashes, a letter first and no " +
				"dash at the end, for example db1",
		}
	}
	return id, nil
}

// serverName is the resource that people mean by "db1" or "servers/db1".
func serverName(text string) (string, error) {
	id, err := serverID(text)
	return serverKind + "/" + id, err
}

// resourceName is the resource of a kind that people mean by "x" or "kind/x".
func resourceName(kind, text string) (string, error) {
	id := strings.TrimPrefix(text, kind+"/")
	if !idPattern.MatchString(id) {
		singular := strings.TrimSuffix(kind, "s")
		return "", usageError{
			message: fmt.Sprintf("%s cannot be the name of a %s", quote(text), singular),
			hint:    fmt.Sprintf("take one that `understudy %s list` shows", singular),
		}
	}
	return kind + "/" + id, nil
}

// stepName is a step's name, when it can be one.
func stepName(text string) (string, error) {
	if !stepPattern.MatchString(text) {
		return "", usageError{message: quote(text) + " cannot be the name of a step",
			hint: "take one that `understudy job get JOB` shows, for example mount_data"}
	}
	return text, nil
}

// subjectName is what a job or an event is about: "servers/db1", "snapshots/x" or "jobs/x".
func subjectName(text string) (string, error) {
	kind, id, _ := strings.Cut(text, "/")
	known := kind == serverKind || kind == snapshotKind || kind == jobKind
	if !known || !idPattern.MatchString(id) {
		return "", usageError{message: quote(text) + " names nothing",
			hint: "write servers/NAME, snapshots/NAME or jobs/NAME"}
	}
	return text, nil
}

// words are the arguments that a command takes, each with what it is: the names in capitals as in
// its usage line.
func words(required []string, optional ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(required) {
			return usageError{message: "missing " + strings.Join(required[len(args):], " and ")}
		}
		if most := len(required) + len(optional); len(args) > most {
			return usageError{message: fmt.Sprintf("one word too many: %s", quote(args[most]))}
		}
		return nil
	}
}
