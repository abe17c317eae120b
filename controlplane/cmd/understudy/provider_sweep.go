package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newProviderSweep() *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use: "sweep", Short: "List what jobs left behind at the provider, and remove it on request",
		Args: words(nil),
		Long: `List the machines, volumes and snapshots that jobs left behind at the provider. Each carries the tags of this control plane's fleet and of a
job that has ended, and no record names it. Nothing is removed unless --remove is given, and nothing else is ever removed: what other
people or other control planes made is not even listed.

After a failed or cancelled job "job cleanup" is the better way, as it also takes away records and accounts.`,
		Example: `  understudy provider sweep
  understudy provider sweep --remove`,
		RunE: c.do(func(ctx context.Context, _ []string) error {
			return c.call(ctx, func(ctx context.Context,
				a *api) error {
				return c.sweep(ctx, a, remove)
			})
		}),
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "remove what is listed")
	return cmd
}

func (c *cli) sweep(ctx context.Context, a *api, remove bool) error {
	answer, err := a.providers.SweepProvider(ctx, &cpv1.SweepProviderRequest{ValidateOnly: true})
	if err != nil {
		return err
	}
	if remove && len(answer.GetObjects()) > 0 {
		var ids []string
		for _, o := range answer.GetObjects() {
			ids = append(ids, o.GetId())
		}
		if answer, err = a.providers.SweepProvider(ctx,
			&cpv1.SweepProviderRequest{Ids: ids}); err != nil {
			return err
		}
	}
	err = c.list(answer, []string{"KIND", "ID", "STATE", "OWNER", "SIZE", "ATTACHED", "MADE",
		"TAGS"}, func(st show.Style) [][]string {
		return rows(answer.GetObjects(),
			func(o *cpv1.ProviderObject) []string { return c.objectRow(st, o) })
	}, "nothing was left behind")
	if busy := answer.GetBusyIds(); err == nil && len(busy) > 0 {
		fmt.Fprintln(c.Stderr, "still in use by what is going: "+
			show.Clean(strings.Join(busy, ", "))+"; sweep again in a moment")
	}
	return err
}
