package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/agent/internal/agent"
)

func newRenew() *cobra.Command {
	cmd := &cobra.Command{
		Use: "renew", Short: "Renew this host's certificates now", Args: cobra.NoArgs,
		Long: `Renew the certificates of this host's agent and MariaDB now. The agent does it by
itself when half of their life is over; this shows whether it will succeed.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, log, err := load(cmd)
			if err != nil {
				return err
			}
			addresses, err := agent.Renew(cmd.Context(), config, log)
			if err != nil {
				return withHint(err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "renewed at", strings.Join(addresses, ", "))
			return nil
		},
	}
	configFlags(cmd.Flags())
	return cmd
}
