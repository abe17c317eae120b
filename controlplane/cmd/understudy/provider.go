package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const providerLong = `A provider makes machines, volumes and snapshots. These commands show what it has and whether it can do what the jobs need; only
"sweep --remove" changes anything. Where the provider is people, "tasks" lists what they are asked to do, and "done" and "refuse" answer.`

func (c *cli) newProvider() *cobra.Command {
	return c.group("provider", "See what the provider of machines and volumes has", providerLong,
		c.newProviderCheck(), c.newProviderImages(), c.newProviderObjects(), c.newProviderSweep(),
		c.newProviderTasks(), c.newProviderDone(), c.newProviderRefuse())
}

func (c *cli) newProviderCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Try what the jobs need of the provider", Args: words(nil),
		Long: "Try what the jobs need of the provider, and say what is missing and what to do " +
			"about it. The exit code is 1 when something is.",
		Example: "  understudy provider check",
		RunE: c.do(func(ctx context.Context, _ []string) error {
			return c.call(ctx, func(ctx context.Context, a *api) error {
				answer, err := a.providers.CheckProvider(ctx, &cpv1.CheckProviderRequest{})
				if err != nil {
					return err
				}
				if err := c.print(answer,
					func(st show.Style) string { return checkLines(st, answer) }); err != nil {
					return err
				}
				if n := len(answer.GetProblems()); n > 0 {
					return jobError{fmt.Sprintf("%d problems", n)}
				}
				return nil
			})
		}),
	}
}

func checkLines(st show.Style, answer *cpv1.CheckProviderResponse) string {
	name := show.Clean(answer.GetProvider())
	if len(answer.GetProblems()) == 0 {
		return st.Good(st.Glyphs.Done) + " provider " + name + " has all that the jobs need\n"
	}
	var b strings.Builder
	for _, problem := range answer.GetProblems() {
		b.WriteString(st.Bad(st.Glyphs.Failed) + " provider " + name + ": " + show.Clean(problem) +
			"\n")
	}
	return b.String()
}

func (c *cli) newProviderImages() *cobra.Command {
	return &cobra.Command{
		Use: "images", Short: "List the images that machines can be made from", Args: words(nil),
		Long: "List the images that machines can be made from, for --image of \"server " +
			"create\" and \"replica create\".",
		Example: "  understudy provider images",
		RunE: c.do(func(ctx context.Context, _ []string) error {
			return c.call(ctx, func(ctx context.Context, a *api) error {
				answer, err := allImages(ctx, a)
				if err != nil {
					return err
				}
				return c.list(answer, []string{"NAME", "DEFAULT", "DESCRIPTION"},
					func(show.Style) [][]string {
						return rows(answer.GetImages(), func(i *cpv1.Image) []string {
							return []string{show.Clean(i.GetName()), yesNo(i.GetIsDefault()),
								show.Clean(i.GetDescription())}
						})
					}, "no images: see understudy provider check")
			})
		}),
	}
}

func allImages(ctx context.Context, a *api) (*cpv1.ListImagesResponse, error) {
	all, token := &cpv1.ListImagesResponse{}, ""
	for {
		page, err := a.providers.ListImages(ctx, &cpv1.ListImagesRequest{PageSize: pageSize,
			PageToken: token})
		if err != nil {
			return nil, err
		}
		all.Images = append(all.Images, page.GetImages()...)
		if token = page.GetNextPageToken(); token == "" {
			return all, nil
		}
	}
}

func (c *cli) newProviderObjects() *cobra.Command {
	var orphans bool
	cmd := &cobra.Command{
		Use: "objects", Short: "List machines, volumes and snapshots of the provider",
		Args: words(nil),
		Long: `List the machines, volumes and snapshots that the provider has, with the server or snapshot each belongs to.

Those that no record names are orphans: what a failed job left, or what somebody made by hand with the same tags.`,
		Example: `  understudy provider objects
  understudy provider objects --orphans`,
		RunE: c.do(func(ctx context.Context, _ []string) error {
			return c.call(ctx, func(ctx context.Context, a *api) error {
				answer, err := allObjects(ctx, a)
				if err != nil {
					return err
				}
				answer.Objects = filter(answer.GetObjects(),
					func(o *cpv1.ProviderObject) bool { return !orphans || o.GetOwner() == "" })
				return c.list(answer, []string{"KIND", "ID", "STATE", "OWNER", "SIZE", "ATTACHED",
					"MADE", "TAGS"}, func(st show.Style) [][]string {
					return rows(answer.GetObjects(),
						func(o *cpv1.ProviderObject) []string { return c.objectRow(st, o) })
				}, "nothing")
			})
		}),
	}
	cmd.Flags().BoolVar(&orphans, "orphans", false, "only those that no record names")
	return cmd
}

func allObjects(ctx context.Context, a *api) (*cpv1.ListObjectsResponse, error) {
	all, token := &cpv1.ListObjectsResponse{}, ""
	for {
		page, err := a.providers.ListObjects(ctx, &cpv1.ListObjectsRequest{PageSize: pageSize,
			PageToken: token})
		if err != nil {
			return nil, err
		}
		all.Objects = append(all.Objects, page.GetObjects()...)
		if token = page.GetNextPageToken(); token == "" {
			return all, nil
		}
	}
}

func (c *cli) objectRow(st show.Style, o *cpv1.ProviderObject) []string {
	var tags []string
	for _, key := range slices.Sorted(maps.Keys(o.GetTags())) {
		tags = append(tags, show.Clean(key+"="+o.GetTags()[key]))
	}
	return []string{
		enum.Word(o.GetKind()), show.Clean(o.GetId()), st.State(show.Clean(o.GetState())),
		show.Clean(o.GetOwner()), sizeWord(o.GetSizeBytes()),
		show.Clean(envOr(o.GetMachine(), o.GetAddress())), show.Age(c.Now(), o.GetCreateTime().AsTime()),
		strings.Join(tags, " "),
	}
}
