package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// jobAnswer is the answer of a call that starts a job, or changes one.
type jobAnswer interface {
	proto.Message
	GetJob() *cpv1.Job
}

// jobParts are what differs among the verbs that start or change a job; each may be nil.
type jobParts struct {
	// prepare sets what of the request only the control plane knows.
	prepare func(context.Context, *api) error
	// stale says of a refusal that what prepare read had changed, and that it may be read again.
	stale func(error) bool
	// refused looks at a refusal: it answers with a better one, with a job to show all the same, or
	// with neither when it said what there is to say.
	refused func(context.Context, *api, error) (*cpv1.Job, error)
	// plan makes a plan of what a dry run answered.
	plan func(*cpv1.Job) *cpv1.Job
	// good is the ending to wait for: that the job succeeds when nil.
	good func(asked *cpv1.Job) ending
	// news tells of what came of it, after a good end.
	news func(context.Context, *api, *cpv1.Job)
}

// jobVerb is a verb that sends a request about a job, and shows the plan, or the job until it
// rests.
func jobVerb[Q proto.Message, P jobAnswer](v *verb[Q], call rpc[Q, P],
	parts jobParts) *cobra.Command {
	wait := &waitFlags{}
	wait.add(v.cmd)
	v.checks = append(v.checks, func() error { return wait.check(v.cmd) })
	v.flag("request_id", "request-id", "`UUID` under which a repeat is the same request",
		"a new one")
	if field := v.req.ProtoReflect().Descriptor().Fields().ByName("validate_only"); field != nil {
		v.flag("validate_only", "dry-run", "print the plan step by step; start nothing")
	}
	return v.does(func(ctx context.Context, a *api) error {
		var answer P
		var err error
		for try := 1; try == 1 || try <= 5 && parts.stale != nil && parts.stale(err); try++ {
			if parts.prepare != nil {
				if err := parts.prepare(ctx, a); err != nil {
					return err
				}
			}
			answer, err = call(a, ctx, v.req)
		}
		job := answer.GetJob()
		if err != nil && parts.refused != nil {
			job, err = parts.refused(ctx, a, err)
		}
		switch {
		case err != nil:
			return v.lost(err)
		case job == nil:
			return nil
		case v.is("validate_only") && parts.plan != nil:
			return plan(v.cli, parts.plan(job))
		case v.is("validate_only"):
			return plan(v.cli, job)
		}
		good := succeeded
		if parts.good != nil {
			good = parts.good(job)
		}
		return finish(ctx, v.cli, a, job, *wait, good, parts.news)
	})
}

// plan prints what a job would do. A plan with an error in it is a refusal.
func plan(c *cli, job *cpv1.Job) error {
	err := c.print(job, func(show.Style) string { return show.Plan(job, c.screen()) })
	if err == nil && show.Refused(job) {
		return jobError{"it would be refused"}
	}
	return err
}

// imagesLimit is how long the images are asked for: a job is no less welcome while the provider
// does not answer, and finds out itself.
const imagesLimit = 5 * time.Second

// machine adds the flags of every verb that makes a server, and says how to find out that there is
// no such image before a job does.
func machine[Q interface {
	proto.Message
	GetImage() string
}](v *verb[Q], zone, size string) func(context.Context, *api) error {
	v.flag("image", "image", "`IMAGE` of the machine, one of \"understudy provider images\"",
		"the provider's")
	v.flag("zone", "zone", "`ZONE` of the machine", zone)
	v.flag("volume_size_bytes", "size", "size of the data volume, such as 10GiB", size)
	v.flag("port", "port", "port of MariaDB")
	v.flag("options", "option",
		"MariaDB option `NAME=VALUE` from the agent's allow-list; can be repeated")
	return func(ctx context.Context, a *api) error {
		if v.req.GetImage() == "" {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, imagesLimit)
		defer cancel()
		answer, err := pages(ctx, a, (*api).ListImages, &cpv1.ListImagesRequest{}, 0)
		names := each(answer.GetImages(), (*cpv1.Image).GetName)
		if err != nil || slices.Contains(names, v.req.GetImage()) {
			return nil
		}
		return usageError{message: "--image " + quote(v.req.GetImage()) + " must be one of " +
			strings.Join(names, ", ")}
	}
}
