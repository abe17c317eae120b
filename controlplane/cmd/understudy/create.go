package main

import (
	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// startFlags are those of every command that starts a job.
type startFlags struct {
	waitFlags
	dryRun    bool
	requestID string
}

func (s *startFlags) add(cmd *cobra.Command) {
	s.waitFlags.add(cmd)
	cmd.Flags().BoolVar(&s.dryRun, "dry-run", false,
		"check, and print the plan step by step; start nothing")
	cmd.Flags().StringVar(&s.requestID, "request-id", "",
		"`UUID` that makes the request safe to repeat: a repeat finds the job of the first one")
}

// request is the id to send: the one that was given, or a new one.
func (s *startFlags) request() (string, error) {
	if s.requestID == "" {
		return uuid.NewString(), nil
	}
	id, err := uuid.Parse(s.requestID)
	if err != nil {
		return "", usageError{message: "--request-id " + quote(s.requestID) + " is no UUID",
			hint: "leave it out, or take one that uuidgen makes"}
	}
	return id.String(), nil
}

// lost tells how to find out about a request whose answer did not come.
func lost(err error, requestID string) error {
	switch errs.KindOf(err) {
	case errs.Unavailable, errs.DeadlineExceeded:
		return noted{err: err,
			note: "should the request have arrived all the same, a repeat with --request-id " +
				requestID + " finds its job and starts no second one"}
	default:
		return err
	}
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

// checkImage refuses what can be no image's or zone's name.
func checkImage(flag, value string) error {
	if value == "" || imagePattern.MatchString(value) {
		return nil
	}
	return usageError{message: "--" + flag + " " + quote(value) + " cannot be a name",
		hint: "`understudy provider images` lists the images"}
}
