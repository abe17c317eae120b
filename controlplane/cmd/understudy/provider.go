package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const providerLong = `A provider makes machines, volumes and snapshots. These commands show what it
has, and whether it can do what the jobs need. Only "sweep --remove" changes
something.

With the provider "manual" an operator does the work: "tasks" lists what is to
be done, "done" and "refuse" report the result.`

func (c *cli) newProvider() *cobra.Command {
	return c.group("provider", "See what the provider of machines and volumes has", providerLong,
		c.newProviderCheck(), c.newProviderImages(), c.newProviderObjects(), c.newProviderSweep(),
		c.newProviderTasks(), c.newProviderDone(), c.newProviderRefuse())
}

// listObjects prints objects of the provider.
func (c *cli) listObjects(msg interface {
	message
	GetObjects() []*cpv1.ProviderObject
}, empty string) error {
	return c.list(msg, []string{"KIND", "ID", "STATE", "OWNER", "SIZE", "AT", "MADE", "TAGS"},
		func(st show.Style) [][]string {
			return rows(msg.GetObjects(),
				func(o *cpv1.ProviderObject) []string { return c.objectRow(st, o) })
		}, empty)
}

func (c *cli) objectRow(st show.Style, o *cpv1.ProviderObject) []string {
	var tags []string
	for _, key := range slices.Sorted(maps.Keys(o.GetTags())) {
		tags = append(tags, show.Clean(key+"="+o.GetTags()[key]))
	}
	return []string{
		enum.Word(o.GetKind()), show.Clean(o.GetId()), st.State(show.Clean(o.GetState())),
		show.Clean(o.GetOwner()), sizeWord(o.GetSizeBytes()),
		show.Clean(envOr(o.GetMachine(), o.GetAddress())),
		show.Age(c.Now(), o.GetCreateTime().AsTime()), strings.Join(tags, " "),
	}
}
