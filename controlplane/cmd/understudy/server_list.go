package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newServerList() *cobra.Command {
	var of string
	var all bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List servers", Args: words(nil),
		Long: `List servers by name, with their role, state and how a replica was verified.

SEEN is when the server's agent was heard of last. A server whose agent is out of reach is UNREACHABLE, whatever it was before:
what is not known is not called healthy.`,
		Example: `  understudy server list
  understudy server list --of db1
  understudy server list -o json | jq -r '.servers[].name'`,
		RunE: c.do(func(ctx context.Context, _ []string) error {
			return c.listServers(ctx, of, all, func(*cpv1.Server) bool { return true },
				"no servers: make one with understudy server create NAME")
		}),
	}
	cmd.Flags().StringVar(&of, "of", "", "only the replicas of `PRIMARY`")
	cmd.Flags().BoolVar(&all, "all", false, "deleted ones too")
	c.completeFlag(cmd, "of", c.serverIDs)
	return cmd
}

func (c *cli) listServers(ctx context.Context, of string, all bool, keep func(*cpv1.Server) bool,
	empty string) error {
	req := &cpv1.ListServersRequest{ShowDeleted: all}
	if of != "" {
		name, err := serverName(of)
		if err != nil {
			return err
		}
		req.Primary = name
	}
	return c.call(ctx, func(ctx context.Context, a *api) error {
		answer, err := allServers(ctx, a, req)
		if err != nil {
			return err
		}
		answer.Servers = filter(answer.GetServers(), keep)
		return c.list(answer, serverHead(), func(st show.Style) [][]string {
			return rows(answer.GetServers(),
				func(s *cpv1.Server) []string { return c.serverRow(st, s) })
		}, empty)
	})
}

// rows makes a row of each record.
func rows[T any](records []T, row func(T) []string) [][]string {
	lines := make([][]string, len(records))
	for i, r := range records {
		lines[i] = row(r)
	}
	return lines
}

// filter is the records to keep.
func filter[T any](records []T, keep func(T) bool) []T {
	var kept []T
	for _, r := range records {
		if keep(r) {
			kept = append(kept, r)
		}
	}
	return kept
}
