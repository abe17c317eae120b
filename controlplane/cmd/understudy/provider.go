package main

import (
	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const providerLong = `A provider makes machines, volumes and snapshots. These commands show what it
has, and whether it can do what the jobs need. Only "sweep --remove" changes
something.

With the provider "manual" an operator does the work: "tasks" lists what is to
be done, "done" and "refuse" report the result.`

func newProvider(c *cli) *cobra.Command {
	return group("provider", "See what the provider of machines and volumes has", providerLong,
		newProviderCheck(c), newProviderPolicy(c), newProviderImages(c), newProviderObjects(c),
		newProviderSweep(c), newProviderTasks(c), newProviderDone(c), newProviderRefuse(c))
}

func objectColumns([]*cpv1.ProviderObject) []column[*cpv1.ProviderObject] {
	return []column[*cpv1.ProviderObject]{
		{head: "KIND", path: "kind"}, {head: "ID", path: "id"}, {head: "STATE", path: "state"},
		{head: "OWNER", path: "owner", text: (*cpv1.ProviderObject).GetOwner},
		{head: "SIZE", path: "size_bytes"},
		{head: "AT", text: func(o *cpv1.ProviderObject) string {
			return envOr(o.GetMachine(), o.GetAddress())
		}},
		{head: "MADE", path: "create_time"}, {head: "TAGS", path: "tags"},
	}
}
