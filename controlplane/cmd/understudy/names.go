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

// serverName is the name of the server that users call "db1" or "servers/db1".
func serverName(text string) (string, error) {
	id := strings.TrimPrefix(text, serverKind+"/")
	if !serverPattern.MatchString(id) {
		return "", usageError{
			message: quote(text) + " is not a valid server name: it must be 2 to 40 lower-case " +
				"letters, digits and dashes, a letter first and no dash last",
		}
	}
	return serverKind + "/" + id, nil
}

// resourceName is the name of the resource that users call "x" or "kind/x".
func resourceName(kind, text string) (string, error) {
	id := strings.TrimPrefix(text, kind+"/")
	if !idPattern.MatchString(id) {
		singular := strings.TrimSuffix(kind, "s")
		return "", usageError{
			message: fmt.Sprintf("%s is not a valid %s name", quote(text), singular),
			hint:    fmt.Sprintf("use one that `understudy %s list` shows", singular),
		}
	}
	return kind + "/" + id, nil
}

// stepName is a step's name, when it can be one.
func stepName(text string) (string, error) {
	if !stepPattern.MatchString(text) {
		return "", usageError{message: quote(text) + " is not a valid step name",
			hint: "use one that `understudy job get JOB` shows, for example mount_data"}
	}
	return text, nil
}

// subjectName is what a job or an event is about: "servers/db1", "snapshots/x" or "jobs/x".
func subjectName(text string) (string, error) {
	kind, id, _ := strings.Cut(text, "/")
	known := kind == serverKind || kind == snapshotKind || kind == jobKind
	if !known || !idPattern.MatchString(id) {
		return "", usageError{message: quote(text) +
			" must be servers/NAME, snapshots/NAME or jobs/NAME"}
	}
	return text, nil
}

// words are the arguments that a command takes, each with what it is: the names in capitals as in
// its usage line.
func words(required []string, optional ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(required) {
			return usageError{message: required[len(args)] + " is required"}
		}
		if most := len(required) + len(optional); len(args) > most {
			return usageError{message: "unexpected argument " + quote(args[most])}
		}
		return nil
	}
}
