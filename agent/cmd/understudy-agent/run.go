package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/understudy-db/understudy/agent/internal/agent"
	"github.com/understudy-db/understudy/proto/telemetry"
)

const defaultConfig = "/etc/understudy-agent/agent.yaml"

func newRun() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run", Short: "Enrol if needed, then serve until stopped", Args: cobra.NoArgs,
		Long: `Enrol if needed, then serve until SIGTERM or Ctrl-C. A stop leaves nothing frozen or
locked.

The configuration comes from flags, then from the environment (UNDERSTUDY_AGENT_LISTEN=…), then
from the file, then from the defaults.`,
		Example: `  understudy-agent run
  understudy-agent run --listen 10.0.0.7:7443 --log-level debug`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, log, err := load(cmd)
			if err != nil {
				return err
			}
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("cannot find the agent's own file: %w", err)
			}
			stop, err := telemetry.StartTraces(cmd.Context(), telemetry.TraceConfig{
				Service: "understudy-agent", Version: version, Environ: os.Environ()})
			if err != nil {
				return err
			}
			defer stop()
			err = agent.Run(cmd.Context(), config, agent.Options{Version: version, Program: program,
				Log: log})
			if errors.Is(err, context.Canceled) {
				return nil // stopped by a signal
			}
			return err
		},
	}
	configFlags(cmd.Flags())
	return cmd
}

func configFlags(flags *pflag.FlagSet) {
	flags.String("config", defaultConfig, "file with the configuration")
	flags.String("listen", "", "address to serve on, host:port")
	flags.String("state-dir", "", "directory of the agent's identity")
	flags.String("runtime-dir", "", "directory of what may vanish at a reboot")
	flags.String("join-file", "", "file with the one-time join token")
	flags.String("ec2-metadata", "", "address of the metadata service of an EC2 instance, "+
		"http://host")
	flags.String("metrics", "", "address of metrics, /healthz and /readyz, host:port, or off")
	flags.String("log-level", "", "debug, info, warn or error")
	flags.String("log-format", "", "text or json")
	flags.StringSlice("units", nil, "patterns of units that may be changed")
	flags.StringSlice("units-read-only", nil, "patterns of units that may only be seen")
	flags.StringSlice("mount-points", nil, "patterns of paths that may be mounted on")
	flags.StringSlice("device-ids", nil, "patterns of names below /dev/disk/by-id that may be used")
}

// load reads the configuration and makes the log.
func load(cmd *cobra.Command) (agent.Config, *slog.Logger, error) {
	sources := agent.Sources{File: defaultConfig, Environ: os.Environ(), Flags: map[string]any{}}
	if file := os.Getenv(agent.EnvPrefix + "CONFIG"); file != "" {
		sources.File, sources.Required = file, true
	}
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	configFlags(own)
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if own.Lookup(flag.Name) == nil {
			return // of one command, and no setting
		}
		key := strings.ReplaceAll(flag.Name, "-", "_")
		switch value := flag.Value.(type) {
		case pflag.SliceValue:
			sources.Flags[key] = value.GetSlice()
		default:
			sources.Flags[key] = flag.Value.String()
		}
		if flag.Name == "config" {
			sources.File, sources.Required = flag.Value.String(), true
			delete(sources.Flags, key)
		}
	})
	config, err := agent.Load(sources)
	if err != nil {
		return agent.Config{}, nil, err
	}
	level, err := config.Level()
	if err != nil {
		return agent.Config{}, nil, err
	}
	log := telemetry.NewLogger(os.Stderr, telemetry.LogConfig{Level: level,
		JSON:    config.LogFormat == "json",
		Journal: telemetry.ToJournal(os.Stderr, os.Environ())})
	slog.SetDefault(log)
	return config, log, nil
}
