package agent

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/agent/internal/hold"
)

// Hold is the process that holds a consistent point for the agent that listens at the socket;
// systemd runs it in a unit of its own.
func Hold(ctx context.Context, config Config, program, socket string, log *slog.Logger) error {
	p, err := buildHelper(config, program, log)
	if err != nil {
		return err
	}
	defer p.close(log)
	armed := func() { supervisor{log}.say(daemon.SdNotifyReady) }
	return hold.Run(ctx, hold.ProcessConfig{Socket: socket, MariaDB: p.mariadb, Services: p.units,
		Armed: armed, Log: log})
}

// Unreserve ends a reservation of binary logs whose time is over; systemd runs it when it is.
func Unreserve(ctx context.Context, config Config, program, id string, log *slog.Logger) error {
	p, err := buildHelper(config, program, log)
	if err != nil {
		return err
	}
	defer p.close(log)
	return p.mariadb.Unreserve(ctx, id)
}

// ResumeAppliers starts replication again that a hold has stopped and was killed before it could
// start it; systemd runs it after the end of each hold. Without the marker there is nothing to do.
func ResumeAppliers(ctx context.Context, config Config, program, marker string,
	log *slog.Logger) error {
	if _, err := os.Lstat(marker); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	p, err := buildHelper(config, program, log)
	if err != nil {
		return err
	}
	defer p.close(log)
	return p.mariadb.ResumeAppliers(ctx, marker)
}

func buildHelper(config Config, program string, log *slog.Logger) (*parts, error) {
	enroller, err := enroll.New(enroll.Config{StateDir: config.StateDir, JoinFile: config.JoinFile,
		Logger: log})
	if err != nil {
		return nil, err
	}
	return build(config, program, enroller.MariaDBFiles(), log)
}
