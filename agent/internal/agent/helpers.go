package agent

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/quiesce"
)

// Quiesce is the process that quiesces MariaDB for the agent that listens at the socket; systemd
// runs it in a unit of its own.
func Quiesce(ctx context.Context, config Config, program, socket string, log *slog.Logger) error {
	p, _, err := open(config, program, log)
	if err != nil {
		return err
	}
	defer p.close(log)
	return quiesce.Run(ctx, quiesce.ProcessConfig{Socket: socket, MariaDB: p.mariadb.Server,
		Services: p.units, Notify: supervisor{log}.say, Log: log})
}

// EndQuiesce gives back what a Quiesce held; systemd runs it after each. It needs no configuration
// and no MariaDB, which may be the reason why the agent does not run.
func EndQuiesce(ctx context.Context, giveBack quiesce.GiveBack) (err error) {
	if giveBack.Exec, err = hostexec.New(hostexec.Config{}); err != nil {
		return err
	}
	giveBack.Notify = supervisor{slog.Default()}.say
	return giveBack.Do(ctx)
}

// Unreserve ends a reservation of binary logs whose time is over; systemd runs it when it is.
func Unreserve(ctx context.Context, config Config, program, id string, log *slog.Logger) error {
	p, _, err := open(config, program, log)
	if err != nil {
		return err
	}
	defer p.close(log)
	return p.mariadb.Reservations.Unreserve(ctx, id)
}

// ResumeAppliers starts the replication that a killed Quiesce has left stopped. Without the marker
// it does nothing.
func ResumeAppliers(ctx context.Context, config Config, program, marker string,
	log *slog.Logger) error {
	if _, err := os.Lstat(marker); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	p, _, err := open(config, program, log)
	if err != nil {
		return err
	}
	defer p.close(log)
	return p.mariadb.Server.ResumeAppliers(ctx, marker)
}

// open makes the parts of an agent that does not run.
func open(config Config, program string, log *slog.Logger) (*parts, *enroll.Enroller, error) {
	enroller, err := enroll.New(enroll.Config{StateDir: config.StateDir, JoinFile: config.JoinFile,
		Metadata: config.EC2Metadata, Logger: log})
	if err != nil {
		return nil, nil, err
	}
	p, err := build(config, program, enroller.MariaDBFiles(), log)
	return p, enroller, err
}
