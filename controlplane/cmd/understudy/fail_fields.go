package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var indexed = regexp.MustCompile(`\[.*$`)

// inWords puts names of resources as the command line takes them.
var inWords = strings.NewReplacer(
	`"servers/{server}" with`, "a name of", "servers/db1", "db1",
	`"operators/{operator}" with`, "a name of",
	`"snapshots/{snapshot}", as a list shows it`, "a name that `understudy snapshot list` shows",
	`"jobs/{job}", as a list shows it`, "a name that `understudy job list` shows")

// aboutFlags says what is wrong with a request in the words of the command line.
func aboutFlags(cmd *cobra.Command, fields []fieldProblem) string {
	said := make([]string, len(fields))
	for i, f := range fields {
		said[i] = flagOf(cmd, f.Field) + " " + inWords.Replace(f.Why)
	}
	return strings.Join(said, "; ")
}

// flagOf is the flag or the argument of the command that sets a field; the field itself when none
// does.
func flagOf(cmd *cobra.Command, path string) string {
	base := indexed.ReplaceAllString(path, "")
	if cmd == nil {
		return path
	}
	if argument := cmd.Annotations[base]; argument != "" {
		return argument
	}
	name := path
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if slices.Contains(flag.Annotations[fieldOf], base) {
			name = "--" + flag.Name
		}
	})
	return name
}
