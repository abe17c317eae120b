package main

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// ifAbsent adds --if-absent to a verb that creates a server of a role, and says what becomes of it
// when there is one of that name already: with the flag the job that makes it is shown, or the
// server itself.
func ifAbsent[Q interface {
	proto.Message
	GetName() string
}](v *verb[Q], role cpv1.Server_Role) func(context.Context, *api, error) (*cpv1.Job, error) {
	absent := v.cmd.Flags().Bool("if-absent", false,
		"when there is such a server already, show it and exit with 0")
	return func(ctx context.Context, a *api, refused error) (*cpv1.Job, error) {
		if errs.ReasonOf(refused) != errorsv1.Reason_REASON_ALREADY_EXISTS {
			return nil, refused
		}
		job, server, err := existing(ctx, a, v.req.GetName())
		switch {
		case err != nil:
			return nil, refused
		case !*absent || v.is("validate_only"):
			return nil, exists(refused, job)
		}
		differs := differences(v.req, server)
		if server.GetRole() != role {
			differs = append(differs, "role is "+enum.Word(server.GetRole()))
		}
		switch {
		case len(differs) > 0:
			return nil, errs.New(errs.AlreadyExists, 0, fmt.Sprintf("%s exists and differs: its %s",
				show.ID(server.GetName()), strings.Join(differs, ", its ")),
				errs.WithHint("see the server", errs.Call("GetServer", "name", server.GetName())))
		case show.Active(job.GetState()):
			return job, nil
		case server.GetState() == cpv1.Server_STATE_FAILED:
			return nil, exists(refused, job)
		}
		return nil, v.cli.print(&cpv1.GetServerResponse{Server: server},
			func(show.Style) string { return serverLine(server) + "\n" })
	}
}

// existing is a server, and the job that made it or last changed what it is.
func existing(ctx context.Context, a *api, name string) (*cpv1.Job, *cpv1.Server, error) {
	server, err := getServer(ctx, a, name)
	if err != nil || server.GetJob() == "" {
		return nil, server, err
	}
	answer, err := a.GetJob(ctx, &cpv1.GetJobRequest{Name: server.GetJob()})
	if errs.KindOf(err) == errs.NotFound { // jobs are kept for a limited time
		return nil, server, nil
	}
	job := answer.GetJob()
	if job != nil {
		job.Steps = nil // none was shown yet
	}
	return job, server, err
}

// exists names the job that has what exists.
func exists(refused error, job *cpv1.Job) error {
	if job == nil {
		return refused
	}
	return errs.New(errs.KindOf(refused), errs.ReasonOf(refused), fmt.Sprintf("%v: job %s %s",
		refused, show.ID(job.GetName()), word(show.Active(job.GetState()), "makes it",
			"made it or changed it last ("+show.JobState(job.GetState())+")")),
		errs.WithHint("use another name, or see the job",
			errs.Call("GetJob", "name", job.GetName())))
}

// differences are what a request asks for and the record has otherwise, in words.
func differences(req proto.Message, record proto.Message) (all []string) {
	fields := record.ProtoReflect().Descriptor().Fields()
	req.ProtoReflect().Range(func(desc protoreflect.FieldDescriptor,
		want protoreflect.Value) bool {
		has := fields.ByName(desc.Name())
		if has == nil || has.Kind() != desc.Kind() || desc.IsMap() {
			return true
		}
		if got := record.ProtoReflect().Get(has); !got.Equal(want) {
			all = append(all, fmt.Sprintf("%s is %s, not %s",
				strings.ReplaceAll(string(desc.Name()), "_", " "),
				envOr(textOf(got, has, stamp), "unknown"), textOf(want, desc, stamp)))
		}
		return true
	})
	return all
}
