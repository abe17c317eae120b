package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newProviderSweep(c *cli) *cobra.Command {
	var remove bool
	v := newVerb(c, &cpv1.SweepProviderRequest{}, &cobra.Command{
		Use: "sweep", Short: "List what jobs left behind at the provider, or remove it",
		Long: `List the machines, volumes and snapshots that jobs left behind at the provider:
they have the tags of this fleet and of a job that has ended, and no record
names them. With --remove they are removed. Nothing else is ever removed or
listed.

After a failed or cancelled job use "job cleanup", which also removes records
and accounts.`,
		Example: `  understudy provider sweep
  understudy provider sweep --remove`,
	})
	v.cmd.Flags().BoolVar(&remove, "remove", false, "remove what is listed")
	return v.does(func(ctx context.Context, a *api) error { return sweep(ctx, c, a, remove) })
}

func sweep(ctx context.Context, c *cli, a *api, remove bool) error {
	answer, err := a.SweepProvider(ctx, &cpv1.SweepProviderRequest{ValidateOnly: true})
	if err != nil {
		return err
	}
	if remove && len(answer.GetObjects()) > 0 {
		ids := each(answer.GetObjects(), (*cpv1.ProviderObject).GetId)
		if answer, err = a.SweepProvider(ctx,
			&cpv1.SweepProviderRequest{Ids: ids}); err != nil {
			return err
		}
	}
	if len(answer.GetObjects()) == 0 && !c.structured() {
		fmt.Fprintln(c.Stderr, "nothing was left behind")
		return nil
	}
	err = c.print(answer, func(st show.Style) string {
		return table(c, st, answer.GetObjects(), objectColumns(nil))
	})
	if busy := answer.GetBusyIds(); err == nil && len(busy) > 0 {
		fmt.Fprintln(c.Stderr, "still in use: "+show.Clean(strings.Join(busy, ", "))+
			"; sweep again in a moment")
	}
	return err
}
