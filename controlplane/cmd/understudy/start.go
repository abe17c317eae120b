package main

import (
	"context"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// requestFlags make a request safe to repeat.
type requestFlags struct{ requestID string }

func (r *requestFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.requestID, "request-id", "",
		"`UUID` under which a repeat is the same request (default a new one)")
}

// id is the id to send: the one that was given, or a new one, which all further calls return.
func (r *requestFlags) id() (string, error) {
	if r.requestID == "" {
		r.requestID = uuid.NewString()
	}
	id, err := uuid.Parse(r.requestID)
	if err != nil {
		return "", usageError{message: "--request-id " + quote(r.requestID) +
			" is not a valid UUID", hint: "leave it out, or use one that uuidgen makes"}
	}
	return id.String(), nil
}

// lost notes how to find out about a request whose answer did not arrive.
func (r *requestFlags) lost(err error) error {
	switch errs.KindOf(err) {
	case errs.Unavailable, errs.DeadlineExceeded:
		return noted{err: err, note: "the request may have arrived; repeat it with --request-id " +
			r.requestID + ", which never starts it twice"}
	default:
		return err
	}
}

// startFlags are those of every command that starts a job.
type startFlags struct {
	waitFlags
	requestFlags
	dryRun bool
}

func (s *startFlags) add(cmd *cobra.Command) {
	s.waitFlags.add(cmd)
	s.requestFlags.add(cmd)
	cmd.Flags().BoolVar(&s.dryRun, "dry-run", false, "print the plan step by step; start nothing")
}

// start sends a request that starts a job, and shows the plan or the job until it ends. After a
// good end it prints news, if any.
func (c *cli) start(ctx context.Context, f *startFlags,
	send func(context.Context, *api) (*cpv1.Job, error),
	news func(context.Context, *api, *cpv1.Job)) error {
	return c.call(ctx, func(ctx context.Context, a *api) error {
		job, err := send(ctx, a)
		switch {
		case err != nil:
			return f.lost(err)
		case f.dryRun:
			return c.plan(job)
		}
		return c.finish(ctx, a, job, f.waitFlags, succeeded, news)
	})
}

// plan prints what a job would do. A plan with an error in it is a refusal.
func (c *cli) plan(job *cpv1.Job) error {
	if err := c.print(job,
		func(show.Style) string { return show.Plan(job, c.screen()) }); err != nil {
		return err
	}
	if show.Refused(job) {
		return jobError{"it would be refused"}
	}
	return nil
}

// machineFlags are those of every command that makes a server.
type machineFlags struct {
	image, zone string
	size        size
	port        port
	options     map[string]string
}

func (m *machineFlags) add(c *cli, cmd *cobra.Command, zone, size string) {
	flags := cmd.Flags()
	flags.StringVar(&m.image, "image", "", "`IMAGE` of the machine, one of \"understudy provider "+
		"images\" (default the provider's)")
	flags.StringVar(&m.zone, "zone", "", "`ZONE` of the machine (default "+zone+")")
	flags.Var(&m.size, "size", "size of the data volume, such as 10GiB (default "+size+")")
	flags.Var(&m.port, "port", "port of MariaDB (default 3306)")
	flags.StringToStringVar(&m.options, "option", nil,
		"MariaDB option `NAME=VALUE` from the agent's allow-list; can be repeated")
	flags.Lookup("option").DefValue = ""
	c.completeFlag(cmd, "image", c.imageNames)
}
