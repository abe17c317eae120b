package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newEvent() *cobra.Command {
	return c.group("event", "See who asked for what, and what changed",
		"The audit: who asked what, what changed, and when. It is only ever added to.",
		c.newEventList())
}

func (c *cli) newEventList() *cobra.Command {
	var on string
	limit := count{n: defaultLimit}
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List events, newest first", Args: words(nil),
		Long: "List events of the audit, newest first.",
		Example: `  understudy event list
  understudy event list --on servers/db2
  understudy event list --limit 1000 -o json | jq -r '.events[] | select(.action == "step.skip") | .text'`,
		RunE: c.do(func(ctx context.Context, _ []string) error {
			req := &cpv1.ListEventsRequest{}
			var err error
			if on != "" {
				if req.Subject, err = subjectName(on); err != nil {
					return err
				}
			}
			return c.printEvents(ctx, req, limit.n)
		}),
	}
	cmd.Flags().StringVar(&on, "on", "",
		"only those on `SUBJECT`: servers/NAME, snapshots/NAME or jobs/NAME")
	cmd.Flags().Var(&limit, "limit", "at most so many")
	c.completeFlag(cmd, "on", c.subjectNames)
	return cmd
}

func (c *cli) printEvents(ctx context.Context, req *cpv1.ListEventsRequest, limit int) error {
	return c.call(ctx, func(ctx context.Context, a *api) error {
		answer, err := listEvents(ctx, a, req, limit)
		if err != nil {
			return err
		}
		err = c.list(answer, []string{"TIME", "WHO", "WHAT", "ON", "CHANGE"},
			func(show.Style) [][]string {
				return rows(answer.GetEvents(), func(e *cpv1.Event) []string {
					return []string{stamp(e.GetTime()), show.Who(e.GetActor()),
						show.Clean(e.GetAction()), show.Clean(e.GetSubject()),
						show.Clean(e.GetText())}
				})
			}, "no events")
		c.sayMore(answer.GetNextPageToken() != "", limit)
		return err
	})
}

func listEvents(ctx context.Context, a *api, req *cpv1.ListEventsRequest,
	limit int) (*cpv1.ListEventsResponse, error) {
	all := &cpv1.ListEventsResponse{}
	for {
		req.PageSize = nextPage(limit, len(all.GetEvents()))
		page, err := a.jobs.ListEvents(ctx, req)
		if err != nil {
			return nil, err
		}
		all.Events = append(all.Events, page.GetEvents()...)
		all.NextPageToken = page.GetNextPageToken()
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" ||
			len(all.GetEvents()) >= limit {
			return all, nil
		}
	}
}

// subjectNames are the resources that jobs and events are about.
func (c *cli) subjectNames(ctx context.Context, a *api, _ []string) ([]cobra.Completion, error) {
	servers, err := allServers(ctx, a, &cpv1.ListServersRequest{})
	if err != nil {
		return nil, err
	}
	snapshots, err := allSnapshots(ctx, a, &cpv1.ListSnapshotsRequest{})
	return append(rowsOf(servers.GetServers(),
		func(s *cpv1.Server) cobra.Completion { return show.Clean(s.GetName()) }),
		rowsOf(snapshots.GetSnapshots(),
			func(s *cpv1.Snapshot) cobra.Completion { return show.Clean(s.GetName()) })...), err
}
