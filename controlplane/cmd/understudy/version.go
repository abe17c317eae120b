package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func (c *cli) newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version of this program", Args: words(nil),
		Long:    `Show the version of this program and of Go. The control plane is not asked.`,
		Example: "  understudy version\n  understudy version -o json | jq -r .version",
		RunE: c.do(func(context.Context, []string) error {
			if !c.flags.output.json() {
				_, err := fmt.Fprintf(c.Stdout, "understudy %s (%s, %s/%s)\n", c.Version,
					runtime.Version(), runtime.GOOS, runtime.GOARCH)
				return err
			}
			out, err := json.MarshalIndent(map[string]string{
				"version": c.Version, "go": runtime.Version(),
				"platform": runtime.GOOS + "/" + runtime.GOARCH}, "", "  ")
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.Stdout, string(out))
			return err
		}),
	}
}
