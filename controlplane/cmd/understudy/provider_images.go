package main

import (
	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newProviderImages(c *cli) *cobra.Command {
	l := list[*cpv1.ListImagesRequest, *cpv1.ListImagesResponse, *cpv1.Image]{
		call: (*api).ListImages, rows: (*cpv1.ListImagesResponse).GetImages,
		empty: "no images; `understudy provider check` says why",
		columns: func([]*cpv1.Image) []column[*cpv1.Image] {
			return []column[*cpv1.Image]{{head: "NAME", path: "name"},
				{head: "DEFAULT", path: "is_default"}, {head: "DESCRIPTION", path: "description"}}
		}}
	return l.command(newVerb(c, &cpv1.ListImagesRequest{}, &cobra.Command{
		Use: "images", Short: "List the images that machines can be made from",
		Long: `List the images that machines can be made from, for --image of "server create"
and "replica create".`,
		Example: "  understudy provider images\n  understudy provider images -o json",
	}))
}
