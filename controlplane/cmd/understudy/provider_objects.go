package main

import (
	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newProviderObjects(c *cli) *cobra.Command {
	var orphans bool
	v := newVerb(c, &cpv1.ListObjectsRequest{}, &cobra.Command{
		Use: "objects", Short: "List machines, volumes and snapshots of the provider",
		Long: `List the machines, volumes and snapshots of the provider, with the server or
snapshot that each belongs to. AT is the address of a machine, or the machine
that a volume is attached to.

Objects that no record names are orphans: a failed job left them, or somebody
made them by hand.`,
		Example: `  understudy provider objects
  understudy provider objects --orphans`,
	})
	v.cmd.Flags().BoolVar(&orphans, "orphans", false, "only those that no record names")
	l := list[*cpv1.ListObjectsRequest, *cpv1.ListObjectsResponse, *cpv1.ProviderObject]{
		call: (*api).ListObjects, rows: (*cpv1.ListObjectsResponse).GetObjects,
		empty: "no objects", columns: objectColumns,
		keep: func(o *cpv1.ProviderObject) bool { return !orphans || o.GetOwner() == "" }}
	return l.command(v)
}
