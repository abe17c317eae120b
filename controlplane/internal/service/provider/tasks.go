package provider

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Audit keeps what people did.
type Audit interface {
	// Add appends an event.
	Add(ctx context.Context, ev inventory.Event) error
}

// byHand is the provider, if its work is done by people.
func (s *Service) byHand() (provider.Manual, error) {
	p, ok := s.cfg.Cloud.(provider.Manual)
	if !ok {
		return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_UNIMPLEMENTED,
			"the provider "+s.cfg.Cloud.Name()+
				" does its work by itself: it has no manual tasks",
			errs.WithHint("see what the provider has", errs.Call("ListObjects")))
	}
	return p, nil
}

// ListTasks returns a page of the tasks, oldest first.
func (s *Service) ListTasks(ctx context.Context,
	req *cpv1.ListTasksRequest) (*cpv1.ListTasksResponse, error) {
	page := wire.PageOf(req.GetPageSize(), req.GetPageToken())
	p, refused := s.byHand()
	var all []*cpv1.Task
	if refused == nil {
		list, err := p.Tasks(ctx, req.GetIncludeClosed())
		if err != nil {
			return nil, err
		}
		for _, t := range list {
			all = append(all, toTask(t))
		}
	}
	all, next, err := wire.Cut(page, all, "tasks", func(t *cpv1.Task) string {
		return fmt.Sprintf("%020d %s", t.GetCreateTime().AsTime().UnixNano(), t.GetId())
	})
	if err = errors.Join(err, refused); err != nil { // a bad page token is told first
		return nil, err
	}
	return &cpv1.ListTasksResponse{Tasks: all, NextPageToken: next}, nil
}

// CompleteTask takes a person's word.
func (s *Service) CompleteTask(ctx context.Context,
	req *cpv1.CompleteTaskRequest) (*cpv1.CompleteTaskResponse, error) {
	p, err := s.byHand()
	if err != nil {
		return nil, err
	}
	t, err := p.CompleteTask(ctx, req.GetId(), provider.TaskResult{
		Address: req.GetAddress(), DefaultDevice: req.GetDefaultDevice(), Device: req.GetDevice(),
		SizeBytes: req.GetSizeBytes(), Label: req.GetLabel(),
	})
	if err != nil {
		return nil, ofTask(err)
	}
	if err := s.audit(ctx, t, "done"); err != nil {
		return nil, err
	}
	return &cpv1.CompleteTaskResponse{Task: toTask(t)}, nil
}

// RefuseTask records that a person will not do a task.
func (s *Service) RefuseTask(ctx context.Context,
	req *cpv1.RefuseTaskRequest) (*cpv1.RefuseTaskResponse, error) {
	p, err := s.byHand()
	if err != nil {
		return nil, err
	}
	t, err := p.RefuseTask(ctx, req.GetId(), req.GetReason())
	if err != nil {
		return nil, ofTask(err)
	}
	if err := s.audit(ctx, t, "refused: "+req.GetReason()); err != nil {
		return nil, err
	}
	return &cpv1.RefuseTaskResponse{Task: toTask(t)}, nil
}

func (s *Service) audit(ctx context.Context, t provider.Task, what string) error {
	return s.cfg.Audit.Add(ctx, inventory.Event{
		Actor: wire.Who(ctx), Action: "task." + string(t.State), Subject: subjectOf(t),
		Job: t.Tags[kit.TagJob], Message: t.ID + " (" + t.Kind + " " + t.ObjectID + ") " +
			what,
	})
}

// subjectOf is the server that the task is for.
func subjectOf(t provider.Task) string {
	if name := t.Tags[kit.TagServer]; name != "" {
		return inventory.ServerSubject(name)
	}
	return ""
}

// ofTask gives a refusal about a task the hint that an operator has.
func ofTask(err error) error {
	hint := errs.WithHint("list the open tasks", errs.Call("ListTasks"))
	switch {
	case errors.Is(err, provider.ErrInvalid) || errors.Is(err, provider.ErrNotFound):
		return errs.New(errs.KindOf(err), errs.ReasonOf(err), "", errs.Wrap(err), hint)
	case errors.Is(err, provider.ErrIncorrectState):
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_ACTION_REQUIRED, "",
			errs.Wrap(err), hint)
	}
	return err
}

func toTask(t provider.Task) *cpv1.Task {
	return &cpv1.Task{
		Id: t.ID, Kind: enum.Of[cpv1.Task_Kind](t.Kind), Instruction: t.Do,
		State: enum.Of[cpv1.Task_State](string(t.State)), Reason: t.Why,
		CreateTime: wire.Time(t.CreatedAt), Object: t.ObjectID,
		Machine: t.MachineID, MachineName: t.MachineName, Image: t.Image, Volume: t.VolumeID,
		Snapshot: t.SnapshotID, Device: t.Device, Label: t.Label,
		SizeBytes: t.SizeBytes, Tags: t.Tags,
	}
}
