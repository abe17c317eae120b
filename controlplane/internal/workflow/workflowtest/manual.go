package workflowtest

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// byHand is the cloud with operators behind it: what takes it some looks to settle is what takes
// them some time to do.
type byHand struct{ cloudView }

func (byHand) SnapshotTime() time.Duration { return time.Minute }

func (byHand) Tasks(context.Context, bool) ([]provider.Task, error) { return nil, nil }

func (byHand) CompleteTask(context.Context, string, provider.TaskResult) (provider.Task, error) {
	return provider.Task{}, provider.ErrNotFound
}

func (byHand) RefuseTask(context.Context, string, string) (provider.Task, error) {
	return provider.Task{}, provider.ErrNotFound
}

// view is the cloud as a process sees it.
func (w *World) view(p *Process) kit.Provider {
	if w.ByHand {
		return byHand{cloudView{w.Cloud, p}}
	}
	return cloudView{w.Cloud, p}
}

var _ provider.Manual = byHand{}
