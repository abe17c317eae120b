package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// build is what is known of a program.
type build struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (b build) String() string {
	return show.Clean(fmt.Sprintf("%s (%s, %s)", b.Version, b.Go, b.Platform))
}

func newVersion(c *cli) *cobra.Command {
	var clientOnly bool
	cmd := &cobra.Command{
		Use: "version", Short: "Show the versions of this program and of the control plane",
		Args: takes("version"), ValidArgsFunction: cobra.NoFileCompletions,
		Long: `Show the versions of this program and of the control plane. With --client the
control plane is not asked; "understudy --version" is the short form of that.`,
		Example: `  understudy version
  understudy version --client -o json | jq -r .client.version`,
		RunE: c.do(func(ctx context.Context, _ []string) error {
			known := map[string]build{"client": {c.Version, runtime.Version(),
				runtime.GOOS + "/" + runtime.GOARCH}}
			text := fmt.Sprintf("client         %s\n", known["client"])
			if clientOnly {
				return c.printFacts(known, text)
			}
			err := c.call(ctx, func(ctx context.Context, a *api) error {
				answer, err := a.GetVersion(ctx, &cpv1.GetVersionRequest{})
				if err != nil {
					return err
				}
				known["control_plane"] = build{answer.GetVersion(), answer.GetGoVersion(),
					answer.GetPlatform()}
				text += fmt.Sprintf("control plane  %s\n", known["control_plane"])
				return nil
			})
			if printed := c.printFacts(known, text); printed != nil {
				return printed
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "show the version of this program alone")
	return cmd
}
