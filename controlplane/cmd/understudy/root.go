package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const rootLong = `Understudy makes MariaDB replicas on machines of their own, from consistent volume snapshots, and proves that each one is a replica
before it calls it READY.

The control plane (understudy serve) keeps the records and runs the jobs; all other commands talk to it. On the machine where it runs
they need no settings: they find it on 127.0.0.1:7440 and show the operator's credentials that it made. From elsewhere, say where it is
and which credentials to show, by --address and --credentials or by the environment.

Commands that start a job show it until it ends: live on a terminal, one line a change elsewhere. Ctrl-C leaves the view, never the
job: it goes on in the control plane, and "understudy job watch" shows it again.

Output
  Tables are for people. With -o json the result is the API's message as JSON, with all its fields; a list is one object. A command that
  shows a job writes one line of JSON for each change of it, and the last line is the job as it ended. Errors are an object on standard
  error then, {"error": {"code", "reason", "message", "hint"}}.

Exit codes
  0    done; a job that was shown ended well
  1    the control plane refused, or the job failed, was cancelled or waits for a person's decision
  2    a mistake in the command line, its input or the credentials: nothing was done
  3    the control plane cannot be reached or did not answer in time
  130  interrupted; a job that was shown goes on

Environment
  UNDERSTUDY_ADDRESS      HOST:PORT of the control plane
  UNDERSTUDY_CREDENTIALS  folder with ca.pem, cert.pem and key.pem
  NO_COLOR                no colours`

const rootExample = `  # a primary, a snapshot of it while it serves, and a verified replica from that
  understudy server create db1
  understudy snapshot create db1
  understudy replica create --of db1 --verify full db2

  # what a replica would take, without doing anything
  understudy replica create --of db1 --dry-run

  # see what goes on
  understudy job list --active
  understudy job watch`

// newRoot is the whole command line.
func newRoot(c *cli) *cobra.Command {
	root := c.group("understudy",
		"MariaDB replicas from volume snapshots, each proved before it counts", rootLong,
		c.newServer(), c.newReplica(), c.newSnapshot(), c.newJob(), c.newEvent(), c.newProvider(),
		c.newToken(), c.newAgent(),
		c.newDoctor(), c.newVersion(), c.foreign(newServeCommand(c.World)))
	root.Example = rootExample
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SuggestionsMinimumDistance = 2
	c.addGlobalFlags(root)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	root.InitDefaultCompletionCmd("completion")
	return root
}

// flagError says what is wrong with a flag, the flag first.
func flagError(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return usageError{message: err.Error()}
	}
	return usageError{message: fmt.Sprintf("--%s %s: %v", invalid.GetFlag().Name,
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
