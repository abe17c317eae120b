//go:build vm

package vm

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// until does what the job asks for until it succeeds.
func (s *site) until(job string) *cpv1.Job {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 4*slow)
	defer cancel()
	begun := map[string]bool{}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		got := s.job(ctx, job)
		switch got.GetState() {
		case cpv1.Job_STATE_SUCCEEDED:
			return got
		case cpv1.Job_STATE_FAILED, cpv1.Job_STATE_CANCELLED, cpv1.Job_STATE_ACTION_REQUIRED:
			s.t.Fatalf("the job is %s:\n%s", got.GetState(), protojson.Format(got))
		}
		s.strike(got)
		for _, task := range s.tasks() {
			if !begun[task.GetId()] {
				begun[task.GetId()] = true
				s.fulfil(task)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.t.Fatalf("the job does not succeed:\n%s", protojson.Format(got))
		}
	}
}

func (s *site) job(ctx context.Context, name string) *cpv1.Job {
	s.t.Helper()
	answer, err := cpv1.NewJobServiceClient(s.conn).GetJob(ctx, &cpv1.GetJobRequest{Name: name})
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.GetJob()
}

// strike does what is to be done while a step runs.
func (s *site) strike(job *cpv1.Job) {
	s.t.Helper()
	for _, step := range job.GetSteps() {
		act := s.during[step.GetName()]
		if act != nil && step.GetState() == cpv1.Step_STATE_RUNNING {
			delete(s.during, step.GetName())
			act()
		}
	}
}

// asks starts a job and leaves it to itself.
func (s *site) asks(args ...string) string {
	s.t.Helper()
	job := &cpv1.Job{}
	if err := protojson.Unmarshal([]byte(s.do(append(args, "--detach", "-o", "json")...)),
		job); err != nil {
		s.t.Fatal(err)
	}
	return job.GetName()
}

func (s *site) tasks() []*cpv1.Task {
	s.t.Helper()
	answer, err := cpv1.NewProviderServiceClient(s.conn).ListTasks(s.t.Context(),
		&cpv1.ListTasksRequest{})
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.GetTasks()
}

// fulfil does what a task asks for, and reports it where the host does not show it.
func (s *site) fulfil(task *cpv1.Task) {
	s.t.Helper()
	s.t.Logf("task: %s", task.GetInstruction())
	var result []string
	v := s.volumes[task.GetDevice()]
	switch kind := enum.Word(task.GetKind()); kind {
	case "make_machine":
		m := s.machine(task.GetMachineName())
		s.joins(m)
		result = []string{"--address", m.address()}
	case "make_volume":
		result = []string{"--device", s.makeVolume(task.GetSizeBytes(),
			task.GetSnapshot()).device()}
	case "attach_volume":
		s.machines[task.GetMachineName()].plug(s.t, v)
		return
	case "detach_volume":
		s.machines[task.GetMachineName()].pull(s.t, v)
		return
	case "take_snapshot":
		file := v.path + ".snapshot"
		s.tool("cp", "--sparse=always", "--reflink=auto", v.path, file)
		s.snapshots[task.GetObject()] = file
	case "delete_volume":
		_ = os.Remove(v.path)
	case "delete_snapshot":
		_ = os.Remove(s.snapshots[task.GetObject()])
	default:
		s.t.Fatalf("nobody knows how to %s: %s", kind, task.GetInstruction())
	}
	s.do(append([]string{"provider", "done", task.GetId()}, result...)...)
}

// makeVolume makes a blank volume, a virtio disk, or one of a snapshot, a SCSI disk.
func (s *site) makeVolume(bytes int64, snapshot string) *volume {
	s.t.Helper()
	v := &volume{serial: fmt.Sprint("volume", len(s.volumes)+1)}
	v.path = s.dir + "/" + v.serial + ".raw"
	if snapshot != "" {
		v.scsi = true
		s.tool("cp", "--sparse=always", "--reflink=auto", s.snapshots[snapshot], v.path)
	}
	s.tool("truncate", "-s", ">"+strconv.FormatInt(bytes, 10), v.path)
	s.volumes[v.device()] = v
	return v
}
