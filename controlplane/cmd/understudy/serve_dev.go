package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/internal/app"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/lab"
	"github.com/understudy-db/understudy/controlplane/internal/lab/failpoint"
	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
)

// openDev is what the configuration has of development; nothing without --dev.
func openDev(cfg app.Config, world World, log *slog.Logger) (dev app.Dev, err error) {
	failpoints, err := failpoint.Parse(world.getenv(failpoint.Variable))
	if err != nil {
		return dev, err
	}
	if !cfg.Dev {
		if len(failpoints) > 0 {
			return dev, fmt.Errorf("%s works with --dev alone", failpoint.Variable)
		}
		return dev, nil
	}
	log.Warn("development mode: failpoints work, and the provider "+app.LabProvider+
		" makes hosts on this machine; it is not for data that must be kept", "provider",
		cfg.Provider)
	dev.Failpoints = func(quietly func(context.Context, func()) error) (
		func(job.Point, string, string), func(string)) {
		return failpoints.Hooks(log, quietly)
	}
	if cfg.Provider != app.LabProvider {
		return dev, nil
	}
	dev.Provider, err = lab.New(lab.Config{Name: cfg.Lab, ImageCacheDir: cfg.ImageCacheDir,
		AgentBinary: cfg.AgentBinary, Image: cfg.Image, Log: log,
		SupervisorWords: []string{"serve"}})
	return dev, err
}

// newSuperviseCommand runs one host of the lab; the lab starts it, not the user.
func newSuperviseCommand(world World) *cobra.Command {
	return &cobra.Command{
		Use: nspawn.SuperviseWord, Hidden: true, DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			_, err := nspawn.Supervise(append([]string{"understudy"}, world.Args...))
			return err
		},
	}
}
