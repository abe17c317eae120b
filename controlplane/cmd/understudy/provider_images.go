package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newProviderImages() *cobra.Command {
	return &cobra.Command{
		Use: "images", Short: "List the images that machines can be made from", Args: words(nil),
		Long: `List the images that machines can be made from, for --image of "server create"
and "replica create".`,
		Example: "  understudy provider images\n  understudy provider images -o json",
		RunE:    c.do(func(ctx context.Context, _ []string) error { return c.printImages(ctx) }),
	}
}

func (c *cli) printImages(ctx context.Context) error {
	return c.call(ctx, func(ctx context.Context, a *api) error {
		all, _, err := pages(0, func(size int32, token string) ([]*cpv1.Image, string, error) {
			page, err := a.providers.ListImages(ctx,
				&cpv1.ListImagesRequest{PageSize: size, PageToken: token})
			return page.GetImages(), page.GetNextPageToken(), err
		})
		if err != nil {
			return err
		}
		return c.list(&cpv1.ListImagesResponse{Images: all},
			[]string{"NAME", "DEFAULT", "DESCRIPTION"}, func(show.Style) [][]string {
				return rows(all, func(i *cpv1.Image) []string {
					return []string{show.Clean(i.GetName()), yesNo(i.GetIsDefault()),
						show.Clean(i.GetDescription())}
				})
			}, "no images; `understudy provider check` says why")
	})
}
