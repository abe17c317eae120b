package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// deleteFlags are those of commands that take something away for good.
type deleteFlags struct {
	startFlags
	yes  bool
	etag string
}

func (d *deleteFlags) add(cmd *cobra.Command) {
	d.startFlags.add(cmd)
	cmd.Flags().BoolVarP(&d.yes, "yes", "y", false, "do not ask")
	cmd.Flags().StringVar(&d.etag, "etag", "", "`ETAG`: delete it only if the record is still "+
		"the one with this etag; the one that is shown when not given")
}

func (c *cli) newServerDelete() *cobra.Command {
	f := &deleteFlags{}
	cmd := &cobra.Command{
		Use: "delete NAME", Aliases: []string{"rm"},
		Short: "Take a server away, with its machine and its data", Args: words([]string{"NAME"}),
		Long: `Take a server away: its machine, its volumes with the data on them, and a replica's account on its primary. Its snapshots stay.

It asks first, and wants the name typed; --yes does without, for scripts. What it deletes is the record that it showed: should it
change in between, the control plane refuses. A primary that still has replicas is refused.`,
		Example: `  understudy server delete db2
  understudy server delete db2 --dry-run
  understudy server delete db2 --yes`,
		ValidArgsFunction: c.complete(c.serverIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			name, err := serverName(args[0])
			if err != nil {
				return err
			}
			return c.deleteServer(ctx, f, name)
		}),
	}
	f.add(cmd)
	return cmd
}

func (c *cli) deleteServer(ctx context.Context, f *deleteFlags, name string) error {
	requestID, err := f.request()
	if err != nil {
		return err
	}
	if err := c.mayAsk(f); err != nil {
		return err
	}
	return c.call(ctx, func(ctx context.Context, a *api) error {
		s, err := getServer(ctx, a, name)
		if err != nil {
			return err
		}
		warning := fmt.Sprintf(
			"This takes away the %s %s (%s), its machine %s, and all data on its volume %s.",
			roleWord(s.GetRole()), show.ID(name), trimEnum(s.GetState()), dash(s.GetMachine()),
			dash(s.GetDataVolume()))
		if err := c.ask(ctx, f, warning, show.ID(name)); err != nil {
			return err
		}
		answer, err := a.servers.DeleteServer(ctx, &cpv1.DeleteServerRequest{
			Name: name, Etag: envOr(f.etag, s.GetEtag()), RequestId: requestID,
			ValidateOnly: f.dryRun})
		if err != nil {
			return lost(err, requestID)
		}
		return c.deleted(ctx, a, f, answer.GetJob())
	})
}

func (c *cli) deleted(ctx context.Context, a *api, f *deleteFlags, job *cpv1.Job) error {
	if f.dryRun {
		return c.plan(job)
	}
	return c.finish(ctx, a, job, f.waitFlags, succeeded, nil)
}

// mayAsk refuses what would have to be asked where nobody can answer.
func (c *cli) mayAsk(f *deleteFlags) error {
	if f.yes || f.dryRun || terminal(c.Stdin) != nil && terminal(c.Stderr) != nil {
		return nil
	}
	return usageError{message: "deleting has to be confirmed, and there is no terminal to ask on",
		hint: "say --yes"}
}

// ask wants the id typed, unless nothing is done or --yes was said.
func (c *cli) ask(ctx context.Context, f *deleteFlags, warning, id string) error {
	if f.yes || f.dryRun {
		return nil
	}
	fmt.Fprintf(c.Stderr, "%s\nType %s to go on: ", show.Clean(warning), id)
	answer := make(chan string, 1)
	go func() { // a read of a terminal cannot be interrupted: it ends with the program
		line, _ := bufio.NewReader(c.Stdin).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(c.Stderr)
		return ctx.Err()
	case said := <-answer:
		if said != id {
			return usageError{message: "not confirmed: nothing was done"}
		}
		return nil
	}
}

func dash(text string) string { return envOr(show.Clean(text), "-") }
