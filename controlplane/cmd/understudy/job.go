package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const jobLong = `A job is what was asked for and takes a while: taking a snapshot, making a replica, taking a server away. It is made of steps, each of which
looks first, changes what has to change, and looks again; so any step can be tried again at any time.

A job survives the control plane: it goes on where it was when that is back. When a step fails for good, the job stops, releases what it
holds on the primary, and says why and what to do. Then a person may

  retry    go on at the step that failed, or run one step alone
  redo     make a step's effect anew, so that an earlier effect is not found again
  skip     go on without the step, saying why
  cancel   end a job that runs or waits
  cleanup  remove exactly what a failed or cancelled job made

The beginning of a job's id is enough wherever one is named, as long as no other job begins so.
Every such request is audited: see "understudy event list".`

func (c *cli) newJob() *cobra.Command {
	return c.group("job", "Watch jobs, and decide about those that stopped", jobLong,
		c.newJobList(), c.newJobGet(), c.newJobWatch(), c.newJobRetry(), c.newJobRedo(),
		c.newJobSkip(), c.newJobCancel(), c.newJobCleanup())
}

// lists of jobs and events grow for ever: so many are shown when nothing else is said.
const defaultLimit = 50

// listJobs is the newest jobs, at most so many; 0 means all.
func listJobs(ctx context.Context, a *api, req *cpv1.ListJobsRequest,
	limit int) (*cpv1.ListJobsResponse, error) {
	all := &cpv1.ListJobsResponse{}
	for {
		req.PageSize = nextPage(limit, len(all.GetJobs()))
		page, err := a.jobs.ListJobs(ctx, req)
		if err != nil {
			return nil, err
		}
		all.Jobs = append(all.Jobs, page.GetJobs()...)
		all.NextPageToken = page.GetNextPageToken()
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" || limit > 0 &&
			len(all.GetJobs()) >= limit {
			return all, nil
		}
	}
}

// nextPage is how many records to ask for when so many are there and at most limit are wanted, 0
// for all.
func nextPage(limit, have int) int32 {
	if limit == 0 {
		return pageSize
	}
	return int32(min(pageSize, limit-have))
}

func getJob(ctx context.Context, a *api, name string) (*cpv1.Job, error) {
	answer, err := a.jobs.GetJob(ctx, &cpv1.GetJobRequest{Name: name})
	return answer.GetJob(), err
}

func (c *cli) jobRow(st show.Style, j *cpv1.Job, short map[string]string) []string {
	took := ""
	switch {
	case j.GetStartTime() == nil:
	case j.GetEndTime() != nil:
		took = show.Duration(j.GetEndTime().AsTime().Sub(j.GetStartTime().AsTime()))
	case show.Active(j.GetState()):
		took = show.Duration(c.Now().Sub(j.GetStartTime().AsTime()))
	}
	return []string{
		short[show.ID(j.GetName())], enum.Word(j.GetKind()), st.State(show.JobState(j.GetState())),
		show.Clean(j.GetSubject()),
		show.Age(c.Now(), j.GetCreateTime().AsTime()), took, show.Clean(j.GetTitle()),
	}
}
