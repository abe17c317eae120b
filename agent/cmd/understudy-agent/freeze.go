package main

import (
	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/agent/internal/freeze"
)

// newFreezeGuard is the process that freezes and thaws on behalf of the agent; systemd runs it in a
// unit of its own.
func newFreezeGuard() *cobra.Command {
	var guard freeze.Guard
	cmd := &cobra.Command{
		Use: "freeze-guard", Short: "Freeze a filesystem and thaw it in time, for the agent",
		Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return guard.Run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&guard.Path, "path", "", "mount point")
	cmd.Flags().StringVar(&guard.Marker, "marker", "", "file that exists while it may be frozen")
	cmd.Flags().StringVar(&guard.Socket, "socket", "", "where the agent listens")
	cmd.Flags().DurationVar(&guard.Limit, "limit", 0, "hard limit")
	return cmd
}

// newThaw thaws what a guard that was killed has left.
func newThaw() *cobra.Command {
	var path, marker, unit string
	cmd := &cobra.Command{
		Use: "thaw", Short: "Thaw what a killed guard has left frozen", Hidden: true,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return freeze.ThawMarked(cmd.Context(), path, marker, unit)
		},
	}
	cmd.Flags().StringVar(&path, "path", "", "mount point")
	cmd.Flags().StringVar(&marker, "marker", "", "file that exists while it may be frozen")
	cmd.Flags().StringVar(&unit, "unit", "", "unit of the guard")
	return cmd
}
