package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// newServeCommand runs the control plane.
func newServeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "Run the control plane", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return errors.New("this build has no control plane in it") },
	}
}
