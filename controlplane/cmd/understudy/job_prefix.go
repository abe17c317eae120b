package main

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// wholeID is a job's id in full: it is sent as it is.
var wholeID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// maxCandidates is how many jobs an ambiguous beginning is answered with.
const maxCandidates = 5

// prefixConn lets calls name a job by the beginning of its id, while no other job begins so.
type prefixConn struct{ grpc.ClientConnInterface }

// Invoke makes a call by the name as it is. When there is no such job, it calls again by the name
// of the job that begins so.
func (p prefixConn) Invoke(ctx context.Context, method string, request, answer any,
	options ...grpc.CallOption) error {
	call := func() error {
		return p.ClientConnInterface.Invoke(ctx, method, request, answer, options...)
	}
	message := request.(proto.Message).ProtoReflect()
	field := message.Descriptor().Fields().ByName("name")
	if path.Base(method) == "ListEvents" { // of which there may be none on a job that is there
		field = message.Descriptor().Fields().ByName("subject")
	} else if err := call(); err == nil || field == nil || errs.KindOf(err) != errs.NotFound {
		return err
	}
	name := message.Get(field).String()
	whole, err := p.whole(ctx, name)
	if err != nil {
		return err
	}
	message.Set(field, protoreflect.ValueOfString(whole))
	return call()
}

// whole is the name of the job that the user means. A name that no job begins with stays as it is:
// the control plane says so.
func (p prefixConn) whole(ctx context.Context, name string) (string, error) {
	id, isJob := strings.CutPrefix(name, jobKind+"/")
	if !isJob || id == "" || wholeID.MatchString(id) {
		return name, nil
	}
	all, err := pages(ctx, &api{JobServiceClient: cpv1.NewJobServiceClient(p.ClientConnInterface)},
		(*api).ListJobs, &cpv1.ListJobsRequest{}, 0)
	if err != nil {
		return "", err
	}
	var found []*cpv1.Job
	for _, j := range all.GetJobs() {
		if j.GetName() == name {
			return name, nil
		}
		if strings.HasPrefix(j.GetName(), name) {
			found = append(found, j)
		}
	}
	switch len(found) {
	case 0:
		return name, nil
	case 1:
		return found[0].GetName(), nil
	}
	return "", ambiguous(id, found)
}

func ambiguous(id string, found []*cpv1.Job) error {
	var candidates []string
	for _, j := range found[:min(len(found), maxCandidates)] {
		candidates = append(candidates, fmt.Sprintf("%s (%s)", show.ID(j.GetName()),
			show.Clean(j.GetTitle())))
	}
	if more := len(found) - len(candidates); more > 0 {
		candidates = append(candidates, fmt.Sprintf("and %d more", more))
	}
	return usageError{message: fmt.Sprintf("%s is the beginning of %d jobs", quote(id), len(found)),
		hint: "write more of it: " + strings.Join(candidates, ", ")}
}

// shortIDs are the jobs' ids as tables show them: as much of each as tells it from the others
// shown.
func shortIDs(jobs []*cpv1.Job) map[string]string {
	short := map[string]string{}
	for _, j := range jobs {
		id := show.ID(j.GetName())
		short[id] = id
		// whole groups; the first two hold the millisecond in which the job was created
		for _, n := range []int{13, 18} {
			if wholeID.MatchString(id) && alone(jobs, id[:n]) {
				short[id] = id[:n]
				break
			}
		}
	}
	return short
}

func alone(jobs []*cpv1.Job, prefix string) bool {
	n := 0
	for _, j := range jobs {
		if strings.HasPrefix(show.ID(j.GetName()), prefix) {
			n++
		}
	}
	return n == 1
}
