// Command demo shows Understudy's main job on real hosts: a primary under load gets a verified
// replica.
package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A control plane that is kept does not keep what this program was given, a lock for instance.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	cfg := Config{}
	root := &cobra.Command{
		Use: "demo", Short: "Show a primary under load get a verified replica, on real hosts",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&cfg.Bin, "bin", programs(), "folder with the built programs")
	root.PersistentFlags().StringVar(&cfg.Dir, "dir", "",
		"folder for the control plane's state (default "+stateDir("LAB")+")")
	root.PersistentFlags().StringVar(&cfg.Name, "lab", defaultLab,
		"name of the lab; two demos with different names run side by side")
	root.PersistentPreRun = func(*cobra.Command, []string) {
		if cfg.Dir == "" {
			cfg.Dir = stateDir(cfg.Name)
		}
	}
	up := &cobra.Command{
		Use: "up", Short: "Run the demo", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return Run(cmd.Context(), cfg) },
	}
	root.PersistentFlags().StringVar(&cfg.Provider, "provider", "nspawn",
		"nspawn, or ec2 through the lab's EC2 endpoint")
	up.Flags().BoolVar(&cfg.Keep, "keep", false, "leave everything up and print what to play with")
	up.Flags().StringVar(&cfg.Report, "report", "", "file to write the figures to, as JSON")
	down := &cobra.Command{
		Use: "down", Short: "Remove what --keep left up", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return stdout().slow("removing the hosts",
				func() error { return Down(cmd.Context(), cfg) })
		},
	}
	root.AddCommand(up, down)
	return root
}

const defaultLab = "demo"

func stateDir(lab string) string { return "/var/lib/understudy-" + lab }

func programs() string {
	self, err := os.Executable()
	if err != nil {
		return "bin"
	}
	return filepath.Dir(self)
}
