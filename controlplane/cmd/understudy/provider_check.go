package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newProviderCheck(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.CheckProviderRequest{}, &cobra.Command{
		Use: "check", Short: "Check that the provider can do what the jobs need",
		Long: `Try what the jobs need of the provider, and print what is missing with what to
do. The exit code is 1 when something is missing.`,
		Example: "  understudy provider check\n  understudy provider check -o json",
	})
	return v.does(func(ctx context.Context, a *api) error {
		answer, err := a.CheckProvider(ctx, v.req)
		if err != nil {
			return err
		}
		err = c.print(answer, func(st show.Style) string { return checkLines(st, answer) })
		if n := len(answer.GetProblems()); err == nil && n > 0 {
			return jobError{fmt.Sprintf("%d problems", n)}
		}
		return err
	})
}

func checkLines(st show.Style, answer *cpv1.CheckProviderResponse) string {
	name := show.Clean(answer.GetProvider())
	if len(answer.GetProblems()) == 0 {
		return st.Good(st.Glyphs.Done) + " provider " + name + " can do what the jobs need\n"
	}
	var b strings.Builder
	for _, problem := range answer.GetProblems() {
		b.WriteString(st.Bad(st.Glyphs.Failed) + " provider " + name + ": " + show.Clean(problem) +
			"\n")
	}
	return b.String()
}
