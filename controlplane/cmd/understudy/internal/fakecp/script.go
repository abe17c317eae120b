package fakecp

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// frame is a job at one point of its script. What is special about that point is in act.
type frame struct {
	job *cpv1.Job
	act action
}

// action is what happens after a frame.
type action int

const (
	goOn   action = iota
	hang          // nothing more happens
	bounce        // the control plane restarts
	vanish        // the control plane goes away for good
)

// script tells a job frame by frame.
type script struct {
	frames []frame
	job    *cpv1.Job
	at     time.Time
}

func newScript(job *cpv1.Job) *script {
	s := &script{job: job, at: Now()}
	job.CreateTime = timestamppb.New(s.at)
	s.tell()
	s.job.State, s.job.StartTime = cpv1.Job_STATE_RUNNING, timestamppb.New(s.at)
	return s
}

func (s *script) tell() {
	s.frames = append(s.frames, frame{job: proto.CloneOf(s.job)})
}

func (s *script) then(act action) { s.frames[len(s.frames)-1].act = act }

func (s *script) step(name string) *cpv1.Step {
	for _, step := range s.job.GetSteps() {
		if step.GetName() == name {
			return step
		}
	}
	panic("fakecp: no step " + name)
}

// begin starts a step.
func (s *script) begin(name string) *cpv1.Step {
	step := s.step(name)
	step.State, step.Attempts, step.StartTime = cpv1.Step_STATE_RUNNING, step.GetAttempts()+1,
		timestamppb.New(s.at)
	step.EndTime, step.Error, step.WaitReason = nil, nil, ""
	s.job.State = cpv1.Job_STATE_RUNNING
	s.tell()
	return step
}

// pass lets time go by.
func (s *script) pass(step *cpv1.Step, took time.Duration) {
	s.at = s.at.Add(took)
	step.Duration = durationpb.New(step.GetDuration().AsDuration() + took)
}

// wait makes a step wait.
func (s *script) wait(name, reason string, took time.Duration) {
	step := s.step(name)
	step.State, step.WaitReason = cpv1.Step_STATE_WAITING, reason
	s.job.State = cpv1.Job_STATE_WAITING
	s.tell()
	s.pass(step, took)
	step.State, step.WaitReason = cpv1.Step_STATE_RUNNING, ""
	s.job.State = cpv1.Job_STATE_RUNNING
}

func (s *script) progress(name string, p *cpv1.StepProgress, took time.Duration) {
	step := s.step(name)
	step.Progress = p
	s.pass(step, took)
	s.tell()
}

// done ends a step well.
func (s *script) done(name string, took time.Duration, found, changed []string) {
	step := s.step(name)
	s.pass(step, took)
	step.State, step.EndTime, step.Found, step.Changed = cpv1.Step_STATE_SUCCEEDED,
		timestamppb.New(s.at), found, changed
	s.tell()
}

// fail ends a step, and the job with it, in a state.
func (s *script) fail(name string, took time.Duration, err *cpv1.JobError, step cpv1.Step_State,
	job cpv1.Job_State) {
	failed := s.step(name)
	s.pass(failed, took)
	failed.State, failed.Error = step, err
	s.job.State, s.job.Error = job, err
	if job == cpv1.Job_STATE_FAILED {
		failed.EndTime, s.job.EndTime = timestamppb.New(s.at), timestamppb.New(s.at)
	}
	s.tell()
}

func (s *script) succeed() {
	s.job.State, s.job.EndTime = cpv1.Job_STATE_SUCCEEDED, timestamppb.New(s.at)
	s.tell()
}

func stepsOf(plan [][2]string) []*cpv1.Step {
	steps := make([]*cpv1.Step, len(plan))
	for i, p := range plan {
		steps[i] = &cpv1.Step{Name: p[0], Title: p[1], State: cpv1.Step_STATE_PENDING,
			Generation: 1}
	}
	return steps
}

func snapshotSteps() [][2]string {
	return [][2]string{
		{"check_primary", "the server can give a consistent snapshot now"},
		{"reserve_binlogs", "binary logs from now on are kept"},
		{"hold", "commits are blocked and the filesystem is frozen"},
		{"cut", "the provider has begun the snapshot"},
		{"release", "writes go on"},
		{"await_ready", "the provider says that it is complete"},
	}
}

func replicaSteps() [][2]string {
	return [][2]string{
		{"plan", "the snapshot, the versions and the primary's binary logs allow it"},
		{"create_machine", "a machine from the image exists"},
		{"await_agent", "the machine's own agent has enrolled and answers"},
		{"swap_volume", "the image's data volume is gone, one from the snapshot is attached"},
		{"mount_data", "the volume is mounted where MariaDB expects its data"},
		{"configure_mariadb", "MariaDB has one option file of ours, and nothing of the source's"},
		{"start_mariadb", "MariaDB runs and answers, at the position of the snapshot"},
		{"upgrade_mariadb", "the datadir fits the binary"},
		{"prepare_replica", "nothing of the source's replication is left"},
		{"configure_replica", "the replica knows its primary, by GTID over TLS"},
		{"start_replica", "both replication threads run"},
		{"catch_up", "the replica has applied what the primary has"},
		{"verify", "the data is equal"},
		{"finish", "replication starts by itself from now on"},
	}
}

func newJob(id string, kind cpv1.Job_Kind, subject, title, requestID string,
	steps [][2]string) *cpv1.Job {
	return &cpv1.Job{Name: "jobs/" + id, Kind: kind, State: cpv1.Job_STATE_QUEUED, Subject: subject,
		Title: title, RequestId: requestID,
		RequestedBy: "spiffe://understudy/operator/alice", Steps: stepsOf(steps), Epoch: 1}
}

// primaryScript makes a primary.
func primaryScript(job *cpv1.Job) *script {
	s := newScript(job)
	s.begin("create_machine")
	s.wait("create_machine", "machine i-9 is pending", 900*time.Millisecond)
	s.done("create_machine", 100*time.Millisecond, nil,
		[]string{"made machine i-9 from image trixie"})
	s.begin("start_mariadb")
	s.done("start_mariadb", 2*time.Second, []string{"MariaDB 11.8.6 answers"},
		[]string{"started mariadb.service"})
	s.succeed()
	return s
}

func primarySteps() [][2]string {
	return [][2]string{{"create_machine", "a machine from the image exists"},
		{"start_mariadb", "MariaDB runs and answers"}}
}

func snapshotScript(job *cpv1.Job) *script {
	s := newScript(job)
	s.begin("check_primary")
	s.done("check_primary", 40*time.Millisecond,
		[]string{"MariaDB 11.8.6, binary log on, 1 data volume vol-1",
			"no other snapshot of it is under way"}, nil)
	s.begin("reserve_binlogs")
	s.done("reserve_binlogs", 12*time.Millisecond, nil,
		[]string{"mysql-bin.000003 and later are kept for 24h"})
	s.begin("hold")
	s.done("hold", 51*time.Millisecond, []string{"GTID 0-101-4711"},
		[]string{"blocked commits", "froze /srv/mariadb"})
	s.begin("cut")
	s.done("cut", 94*time.Millisecond, nil, []string{"began snapshot snap-3 of vol-1"})
	s.begin("release")
	s.done("release", 9*time.Millisecond,
		[]string{"the hold was unbroken", "writes were blocked for 146ms"},
		[]string{"thawed /srv/mariadb", "unblocked commits"})
	s.begin("await_ready")
	s.progress("await_ready", &cpv1.StepProgress{Done: 30, Total: 100, Unit: "percent"},
		time.Second)
	s.done("await_ready", time.Second, []string{"snap-3 is completed"}, nil)
	s.succeed()
	return s
}

// replicaScript makes a replica; the name of the server says what happens on the way: "fails…",
// "parks…", "hangs…", "bounces…", "vanishes…".
func replicaScript(job *cpv1.Job, server string) *script {
	s := newScript(job)
	s.begin("plan")
	s.done("plan", 180*time.Millisecond,
		[]string{"snapshot db1-20260102-140000 is READY, at GTID 0-101-4711",
			"the primary has binary logs from 0-101-1 on"},
		[]string{"allotted server_id 104"})
	s.begin("create_machine")
	s.wait("create_machine", "machine i-4 is pending", 2*time.Second)
	s.done("create_machine", 300*time.Millisecond, nil,
		[]string{"made machine i-4 from image trixie"})
	s.begin("await_agent")
	s.wait("await_agent", "the agent has not enrolled yet", 3*time.Second)
	for prefix, act := range map[string]action{"bounces": bounce, "vanishes": vanish,
		"hangs": hang} {
		if strings.HasPrefix(server, prefix) {
			s.then(act)
		}
	}
	s.done("await_agent", 100*time.Millisecond,
		[]string{"spiffe://understudy/agent/" + server + " answers at 10.88.0.5"}, nil)
	for _, name := range []string{"swap_volume", "mount_data", "configure_mariadb"} {
		s.begin(name)
		s.done(name, 700*time.Millisecond, []string{"volume vol-6"},
			[]string{name + " did its work"})
	}
	if !s.startReplica(server) || !s.catchUp(server) {
		return s
	}
	s.begin("finish")
	s.done("finish", 30*time.Millisecond, nil,
		[]string{"replication starts by itself", "released the primary's binary logs"})
	s.succeed()
	return s
}

// startReplica brings MariaDB up; false when the job ends with it.
func (s *script) startReplica(server string) bool {
	s.begin("start_mariadb")
	if strings.HasPrefix(server, "fails") {
		s.fail("start_mariadb", 1400*time.Millisecond, &cpv1.JobError{Reason: "GTID_MISMATCH",
			Message: "cannot start replication of " + server +
				": MariaDB is at GTID 0-101-4712, the snapshot at 0-101-4711",
			Hint: &errorsv1.Hint{Text: "something wrote on the copy: remove it with job " +
				"cleanup and make the replica again"}},
			cpv1.Step_STATE_FAILED, cpv1.Job_STATE_FAILED)
		return false
	}
	s.done("start_mariadb", 1400*time.Millisecond,
		[]string{"MariaDB 11.8.6 answers at GTID 0-101-4711"},
		[]string{"unmasked mariadb.service", "started mariadb.service"})
	skipped := s.step("upgrade_mariadb")
	skipped.State, skipped.WaitReason = cpv1.Step_STATE_SKIPPED, "datadir and binary are both 11.8"
	for _, name := range []string{"prepare_replica", "configure_replica", "start_replica"} {
		s.begin(name)
		s.done(name, 60*time.Millisecond, nil, []string{name + " did its work"})
	}
	return true
}

// catchUp brings the data up to date; false when the job ends with it.
func (s *script) catchUp(server string) bool {
	s.begin("catch_up")
	for n := range int64(8) {
		s.progress("catch_up", &cpv1.StepProgress{Done: 600 * (n + 1), Total: 4800,
			Unit: "transactions", Text: fmt.Sprintf("lag %d.0s", 8-n),
			Remaining: durationpb.New(time.Duration(8-n) * time.Second)}, time.Second)
	}
	if strings.HasPrefix(server, "parks") {
		s.fail("catch_up", time.Second, &cpv1.JobError{Reason: "REPLICATION_ERROR",
			Message: "the SQL thread stopped: error 1062: Duplicate entry '7' for key 'PRIMARY'",
			Hint:    &errorsv1.Hint{Text: "make the row equal on both sides, then retry"}},
			cpv1.Step_STATE_ACTION_REQUIRED,
			cpv1.Job_STATE_ACTION_REQUIRED)
		return false
	}
	s.done("catch_up", 400*time.Millisecond, []string{"fence 0-101-9511 passed"}, nil)
	s.begin("verify")
	for n := range int64(3) {
		s.progress("verify", &cpv1.StepProgress{Done: (n + 1) << 29, Total: 3 << 29, Unit: "bytes"},
			600*time.Millisecond)
	}
	s.done("verify", 200*time.Millisecond, []string{"9 tables are equal at 0-101-9600"}, nil)
	return true
}
