package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// someJobs is a control plane that has these jobs, two a page.
type someJobs struct {
	grpc.ClientConnInterface
	names []string
	asked string
}

func (s *someJobs) Invoke(_ context.Context, _ string, request, answer any,
	_ ...grpc.CallOption) error {
	switch in := request.(type) {
	case *cpv1.ListJobsRequest:
		s.list(in, answer.(*cpv1.ListJobsResponse))
	case *cpv1.CancelJobRequest:
		if !slices.Contains(s.names, strings.TrimPrefix(in.GetName(), "jobs/")) {
			return errs.New(errs.NotFound, 0, "there is no "+in.GetName())
		}
		s.asked = in.GetName()
	}
	return nil
}

func (s *someJobs) list(in *cpv1.ListJobsRequest, answer *cpv1.ListJobsResponse) {
	from := len(in.GetPageToken())
	for _, n := range s.names[from:min(from+2, len(s.names))] {
		answer.Jobs = append(answer.Jobs, &cpv1.Job{Name: "jobs/" + n, Title: "job " + n})
	}
	if from+2 < len(s.names) {
		answer.NextPageToken = strings.Repeat("x", from+2)
	}
}

func TestABeginningNamesAJob(t *testing.T) {
	t.Parallel()
	const one, two, three = "01a20494-d160-738a-9eb3-bf50ac338cac",
		"01a20494-d160-7fff-9eb3-bf50ac338cac", "01a20494-e000-7fff-9eb3-bf50ac338cac"
	tests := map[string]struct{ asked, ambiguous string }{
		"01a20494-e":       {asked: three}, // on the second page
		"01a20494-d160-73": {asked: one},
		"01a20494-d160": {ambiguous: one + " (job " + one + "), " + two +
			" (job " + two + ")"},
		"01a2":                                 {ambiguous: "of 4 jobs"},
		"nosuch":                               {}, // the control plane says that there is none
		"00000000-0000-7000-8000-000000000000": {},
		"01a2-exactly":                         {asked: "01a2-exactly"},
	}
	for typed, test := range tests {
		plane := &someJobs{names: []string{one, two, three, "01a2-exactly"}}
		_, err := cpv1.NewJobServiceClient(prefixConn{plane}).CancelJob(t.Context(),
			&cpv1.CancelJobRequest{Name: "jobs/" + typed})
		var usage usageError
		switch {
		case test == struct{ asked, ambiguous string }{}:
			if !errors.Is(err, errs.NotFound) {
				t.Errorf("%s: asked %s, %v", typed, plane.asked, err)
			}
		case test.ambiguous == "" && (err != nil || plane.asked != "jobs/"+test.asked):
			t.Errorf("%s: asked %s, %v", typed, plane.asked, err)
		case test.ambiguous != "" &&
			(!errors.As(err, &usage) || !strings.Contains(usage.message+" "+usage.hint,
				test.ambiguous) || plane.asked != ""):
			t.Errorf("%s: asked %q, %v %v", typed, plane.asked, usage.message, usage.hint)
		}
	}
}

func TestTablesShowShortIDs(t *testing.T) {
	t.Parallel()
	const one, two, three = "01a20494-d160-738a-9eb3-bf50ac338cac",
		"01a20494-d160-7fff-9eb3-bf50ac338cac", "01a20494-e000-7fff-9eb3-bf50ac338cac"
	var jobs []*cpv1.Job
	for _, id := range []string{one, two, three, "j-0001"} {
		jobs = append(jobs, &cpv1.Job{Name: "jobs/" + id})
	}
	want := map[string]string{one: "01a20494-d160-738a", two: "01a20494-d160-7fff",
		three: "01a20494-e000", "j-0001": "j-0001"}
	for id, short := range shortIDs(jobs) {
		if want[id] != short {
			t.Errorf("%s is shown as %s, not %s", id, short, want[id])
		}
	}
}
