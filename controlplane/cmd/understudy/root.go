package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const rootLong = `Understudy makes MariaDB replicas from volume snapshots, each on a machine of
its own, and verifies each replica before it is READY.

The control plane (understudy serve) keeps the records and runs the jobs; all
other commands call it. On its own host they need no settings. From elsewhere,
"context add" says once where it is and which credentials to use; "context
--help" says what takes precedence.

Commands that start a job show it until it ends: live on a terminal, one line a
change elsewhere. Ctrl-C leaves the view and the job goes on; "understudy job
watch" shows it again.

Output
  Tables are for users: a terminal gets cells that are too wide cut, a pipe gets
  them whole; -o wide has more columns. With -o json or yaml the result is the
  API's message; a list is one object. A command that shows a job writes one line
  of JSON for each change; the last line is the job as it ended. With -o name it
  is the names alone. Errors are an object on standard error: {"error": {"code",
  "reason", "message", "hint", "commands"}}.

Exit codes
  0    done; a job that was shown ended well
  1    the control plane refused, or the job failed, was cancelled or needs an operator
  2    a mistake in the command line, its input or the credentials: nothing was changed
  3    the control plane cannot be reached or did not answer in time
  130  interrupted; a job that was shown goes on

Environment
  UNDERSTUDY_CONTEXT      name of the context to use
  UNDERSTUDY_ADDRESS      HOST:PORT of the control plane
  UNDERSTUDY_CREDENTIALS  folder with ca.pem, cert.pem and key.pem
  NO_COLOR                no colours`

const rootExample = `  # a primary, and a verified replica of it
  understudy server create db1
  understudy replica create db2 --of db1 --verify full

  # the plan of a replica; nothing is changed
  understudy replica create --of db1 --dry-run

  # jobs that are active
  understudy job list --active
  understudy job watch`

// newRoot is the whole command line.
func newRoot(c *cli) *cobra.Command {
	root := group("understudy",
		"Make MariaDB replicas from volume snapshots, each verified", rootLong,
		newServer(c), newReplica(c), newSnapshot(c), newJob(c), newEvent(c), newAudit(c),
		newProvider(c),
		newToken(c), newAgent(c), newOperator(c), newCA(c),
		newContext(c), newLogin(c), newDoctor(c), newVersion(c), newBackup(c), newRestore(c),
		c.foreign(newServeCommand(c.World)))
	root.Long, root.Example = rootLong, rootExample
	root.Aliases, root.Version = nil, c.Version
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SuggestionsMinimumDistance = 2
	c.addGlobalFlags(root)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	root.SetUsageFunc(usage(root.UsageFunc()))
	root.SetIn(c.Stdin)
	root.SetOut(c.Stdout)
	root.SetErr(c.Stderr)
	root.InitDefaultCompletionCmd("completion") // it keeps the output that it finds
	return root
}

// usage leaves the flags that all commands take to the help of the program itself. A template would
// do the same, and have the linker keep each method of each library, which made the program twice
// as large.
func usage(whole func(*cobra.Command) error) func(*cobra.Command) error {
	return func(cmd *cobra.Command) error {
		to := cmd.OutOrStderr()
		defer cmd.SetOut(to)
		var text bytes.Buffer
		cmd.SetOut(&text)
		if err := whole(cmd); err != nil {
			return err
		}
		global := "Global Flags:\n" + strings.TrimRight(cmd.InheritedFlags().FlagUsages(), " \n")
		_, err := io.WriteString(to, strings.Replace(text.String(), global,
			"Flags of all commands: understudy --help", 1))
		return err
	}
}

// flagError says what is wrong with a flag, the flag first.
func flagError(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return usageError{message: err.Error()}
	}
	return usageError{message: fmt.Sprintf("--%s %s %v", invalid.GetFlag().Name,
		quote(invalid.GetValue()), invalid.Unwrap())}
}

// foreign is a command whose code is not of this command line: its errors are not mistakes in its
// words.
func (c *cli) foreign(cmd *cobra.Command) *cobra.Command {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c.running, c.current = true, cmd
		return run(cmd, args)
	}
	return cmd
}
