package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func newVersion(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version of this program", Args: takes("version"),
		Long:    `Show the version of this program and of Go. The control plane is not asked.`,
		Example: "  understudy version\n  understudy version -o json | jq -r .version",
		RunE: c.do(func(context.Context, []string) error {
			platform := runtime.GOOS + "/" + runtime.GOARCH
			return c.printFacts(map[string]string{"version": c.Version, "go": runtime.Version(),
				"platform": platform},
				fmt.Sprintf("understudy %s (%s, %s)\n", c.Version, runtime.Version(), platform))
		}),
	}
}
