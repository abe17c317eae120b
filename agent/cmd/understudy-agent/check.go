package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/agent/internal/agent"
)

func newCheck() *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use: "check", Short: "Check what this host has and what is missing", Args: cobra.NoArgs,
		Long: `Check whether this host has what the agent needs: root, systemd over D-Bus, the
filesystems' tools, MariaDB, its datadir, the ports, free space, an identity; and whether the
control plane answers and has the same time. Changes nothing. The exit code is 1 when something is
missing that the agent requires.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "" && output != "json" {
				return fmt.Errorf("cannot write %q: -o must be json", output)
			}
			config, _, err := load(cmd)
			if err != nil {
				return err
			}
			findings, err := agent.Check(cmd.Context(), config)
			if err != nil {
				return err
			}
			if err := show(cmd, findings, output); err != nil {
				return err
			}
			if agent.Missing(findings) {
				return errReported
			}
			return nil
		},
	}
	configFlags(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "", "json for programs")
	return cmd
}

func show(cmd *cobra.Command, findings []agent.Finding, output string) error {
	if output == "json" {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		return encoder.Encode(findings)
	}
	return showTable(cmd.OutOrStdout(), findings)
}

// showTable has a line for each finding, and its hint below it.
func showTable(out io.Writer, findings []agent.Finding) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		fmt.Fprintf(table, "%s\t%s\t%s\n", f.State, f.What, oneLine(f.Found))
		if f.Hint != "" {
			fmt.Fprintf(table, "\t\thint: %s\n", oneLine(f.Hint))
		}
	}
	return table.Flush()
}

// oneLine keeps a table a table.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
