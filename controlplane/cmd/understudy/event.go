package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newEvent(c *cli) *cobra.Command {
	return group("event", "See what happened, and who asked for it",
		"An event is something that happened, or that somebody asked for: who, what, when and why."+
			"\nEvents are never changed or deleted.", newEventList(c))
}

func newEventList(c *cli) *cobra.Command {
	req := &cpv1.ListEventsRequest{}
	v := newVerb(c, req, &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List events, newest first",
		Long: `List events, newest first: when, who, what was asked or done, on what, and why.

With --follow the newest events come last, and new ones follow until Ctrl-C.`,
		Example: `  understudy event list
  understudy event list --on servers/db2 --since 24h
  understudy event list --action job.skip --actor operator/alice
  understudy event list --follow --since 10m
  understudy event list --limit 1000 -o json | jq -r '.events[].text'`,
	})
	filters(v, "its text")
	v.flag("action", "action", "only this `ACTION`, such as job.create")
	v.flag("actor", "actor", "only those of this `ACTOR`, such as operator/alice or jobs/NAME")
	v.checks = append(v.checks, func() error {
		req.Actor = identityOf(req.GetActor())
		return nil
	})
	l := list[*cpv1.ListEventsRequest, *cpv1.ListEventsResponse, *cpv1.Event]{
		call: (*api).ListEvents, rows: (*cpv1.ListEventsResponse).GetEvents, newest: true,
		empty: "no events", columns: func([]*cpv1.Event) []column[*cpv1.Event] {
			return []column[*cpv1.Event]{
				{head: "TIME", path: "time",
					text: func(e *cpv1.Event) string { return stamp(e.GetTime().AsTime()) }},
				{head: "WHO", path: "actor",
					text: func(e *cpv1.Event) string { return show.Who(e.GetActor()) }},
				{head: "WHAT", path: "action"},
				{head: "ON", path: "subject", text: (*cpv1.Event).GetSubject},
				{head: "TEXT", path: "text"},
			}
		}}
	v.cmd.Flags().BoolVarP(&l.follow, "follow", "f", false,
		"show new events as they come, until Ctrl-C")
	return l.command(v)
}

// identityOf is an actor as events have it.
func identityOf(actor string) string {
	for _, role := range []string{"viewer/", "operator/", "admin/", "break_glass/", "agent/",
		"controlplane"} {
		if strings.HasPrefix(actor, role) {
			return show.Identities + actor
		}
	}
	return actor
}
