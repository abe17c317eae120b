package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newEvent() *cobra.Command {
	return c.group("event", "See what happened, and who asked for it",
		"An event is something that happened, or that somebody asked for: who, what, when and why."+
			"\nEvents are never changed or deleted.", c.newEventList())
}

type eventList struct {
	filterFlags
	action, actor string
}

func (c *cli) newEventList() *cobra.Command {
	f := &eventList{filterFlags: filterFlags{cli: c}}
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List events, newest first", Args: words(nil),
		Long: "List events, newest first: when, who, what was asked or done, on what, and why.",
		Example: `  understudy event list
  understudy event list --on servers/db2 --since 24h
  understudy event list --action job.skip --actor operator/alice
  understudy event list --limit 1000 -o json | jq -r '.events[].text'`,
		RunE: c.do(func(ctx context.Context, _ []string) error { return c.printEvents(ctx, f) }),
	}
	f.addOn(cmd, "servers/NAME, snapshots/NAME or jobs/NAME")
	cmd.Flags().StringVar(&f.action, "action", "", "only this `ACTION`, such as job.create")
	cmd.Flags().StringVar(&f.actor, "actor", "",
		"only those of this `ACTOR`, such as operator/alice or jobs/NAME")
	f.addTimes(cmd)
	f.addText(cmd, "its text")
	f.addLimit(cmd)
	return cmd
}

// identityOf is an actor as events have it.
func identityOf(actor string) string {
	for _, role := range []string{"operator/", "agent/", "controlplane"} {
		if strings.HasPrefix(actor, role) {
			return show.Identities + actor
		}
	}
	return actor
}

func (c *cli) printEvents(ctx context.Context, f *eventList) error {
	subject, err := f.subject()
	if err != nil {
		return err
	}
	req := &cpv1.ListEventsRequest{Subject: subject, Action: f.action, Text: f.text,
		Actor: identityOf(f.actor), After: f.since.proto(), Before: f.until.proto()}
	return c.call(ctx, func(ctx context.Context, a *api) error {
		all, next, err := pages(f.limit.n, func(size int32, token string) ([]*cpv1.Event, string,
			error) {
			req.PageSize, req.PageToken = size, token
			page, err := a.jobs.ListEvents(ctx, req)
			return page.GetEvents(), page.GetNextPageToken(), err
		})
		if err != nil {
			return err
		}
		err = c.list(&cpv1.ListEventsResponse{Events: all, NextPageToken: next},
			[]string{"TIME", "WHO", "WHAT", "ON", "TEXT"}, func(show.Style) [][]string {
				return rows(all, eventRow)
			}, "no events")
		f.sayMore(next)
		return err
	})
}

func eventRow(e *cpv1.Event) []string {
	return []string{stamp(e.GetTime()), show.Who(e.GetActor()), show.Clean(e.GetAction()),
		show.Clean(e.GetSubject()), show.Clean(e.GetText())}
}
