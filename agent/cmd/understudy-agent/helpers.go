package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/agent/internal/agent"
)

// newQuiesce is the process that quiesces MariaDB on behalf of the agent.
func newQuiesce() *cobra.Command {
	return newHelper("quiesce SOCKET", "Quiesce MariaDB for the agent", agent.Quiesce)
}

// newResumeAppliers is what systemd runs after each newQuiesce.
func newResumeAppliers() *cobra.Command {
	return newHelper("resume-appliers MARKER",
		"Start the replication that a killed quiesce has left stopped", agent.ResumeAppliers)
}

// newUnreserve is what the timer of a reservation of binary logs runs.
func newUnreserve() *cobra.Command {
	return newHelper("unreserve ID", "End a reservation of binary logs whose time is over",
		agent.Unreserve)
}

// newHelper is a command that systemd runs for the agent, in a unit of its own, with one argument.
func newHelper(use, short string, run func(ctx context.Context, config agent.Config, program,
	argument string, log *slog.Logger) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			config, log, err := load(cmd)
			if err != nil {
				return err
			}
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("cannot find the agent's own file: %w", err)
			}
			return run(cmd.Context(), config, program, args[0], log)
		},
	}
}
