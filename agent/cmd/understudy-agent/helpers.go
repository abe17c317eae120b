package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/agent/internal/agent"
	"github.com/understudy-db/understudy/agent/internal/quiesce"
)

// newQuiesce is the process that quiesces MariaDB on behalf of the agent.
func newQuiesce() *cobra.Command {
	return newHelper("quiesce SOCKET", "Quiesce MariaDB for the agent", agent.Quiesce)
}

// newEndQuiesce is what systemd runs after each newQuiesce.
func newEndQuiesce() *cobra.Command {
	var giveBack quiesce.GiveBack
	var appliers bool
	cmd := &cobra.Command{
		Use: "end-quiesce", Short: "Give back what a quiesce held, however it ended", Hidden: true,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if appliers {
				giveBack.Appliers = func(ctx context.Context) error {
					config, program, log, err := helper(cmd)
					if err != nil {
						return err
					}
					return agent.ResumeAppliers(ctx, config, program, giveBack.StoppedFile(), log)
				}
			}
			// systemd.exec(5)
			giveBack.Saw = os.ExpandEnv("$SERVICE_RESULT $EXIT_CODE $EXIT_STATUS")
			return agent.EndQuiesce(cmd.Context(), giveBack)
		},
	}
	cmd.Flags().StringVar(&giveBack.Dir, "dir", "", "the agent's runtime directory")
	cmd.Flags().StringVar(&giveBack.Run, "run", "", "which quiesce it was")
	cmd.Flags().StringVar(&giveBack.Mount, "mount", "", "mount point to thaw")
	cmd.Flags().StringArrayVar(&giveBack.Start, "start", nil, "unit to start")
	cmd.Flags().BoolVar(&appliers, "appliers", false, "start replication that it has stopped")
	return cmd
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
			config, program, log, err := helper(cmd)
			if err != nil {
				return err
			}
			return run(cmd.Context(), config, program, args[0], log)
		},
	}
}

// helper is what such a command needs.
func helper(cmd *cobra.Command) (config agent.Config, program string, log *slog.Logger, err error) {
	if config, log, err = load(cmd); err != nil {
		return config, "", nil, err
	}
	if program, err = os.Executable(); err != nil {
		return config, "", nil, fmt.Errorf("cannot find the agent's own file: %w", err)
	}
	return config, program, log, nil
}
