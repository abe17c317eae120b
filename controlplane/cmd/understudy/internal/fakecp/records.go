package fakecp

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/proto/rpc/enum"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func (s *Server) server(name string) (*cpv1.Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.scene.servers {
		if r.GetName() == name {
			return proto.CloneOf(r), nil
		}
	}
	return nil, notFound(name, "ListServers")
}

// GetServer returns a server.
func (s *Server) GetServer(_ context.Context,
	req *cpv1.GetServerRequest) (*cpv1.GetServerResponse, error) {
	r, err := s.server(req.GetName())
	return &cpv1.GetServerResponse{Server: r}, err
}

// ListServers returns servers, two a page.
func (s *Server) ListServers(_ context.Context,
	req *cpv1.ListServersRequest) (*cpv1.ListServersResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.GetText() == "flaps" { // a server whose state is another one each time
		state := []cpv1.Server_State{cpv1.Server_STATE_READY,
			cpv1.Server_STATE_DEGRADED}[s.asked.Add(1)%2]
		return &cpv1.ListServersResponse{Servers: []*cpv1.Server{{Name: "servers/db9",
			State: state, LastSeenTime: ago(0)}, s.scene.servers[0]}}, nil
	}
	var kept []*cpv1.Server
	for _, r := range s.scene.servers {
		if (req.GetShowDeleted() || len(req.GetStates()) > 0 ||
			r.GetState() != cpv1.Server_STATE_DELETED) &&
			(req.GetRole() == 0 || req.GetRole() == r.GetRole()) &&
			has(req.GetStates(), r.GetState()) &&
			strings.Contains(r.GetName()+r.GetStateReason(), req.GetText()) &&
			(req.GetPrimary() == "" || req.GetPrimary() == r.GetPrimary()) {
			kept = append(kept, r)
		}
	}
	servers, token := page(kept, req.GetPageToken(), 2)
	return &cpv1.ListServersResponse{Servers: servers, NextPageToken: token}, nil
}

// CreateServer starts a job.
func (s *Server) CreateServer(_ context.Context,
	req *cpv1.CreateServerRequest) (*cpv1.CreateServerResponse, error) {
	if err := s.taken(req.GetName()); err != nil {
		return nil, err
	}
	job := newJob("j-0100", cpv1.Job_KIND_CREATE_PRIMARY, req.GetName(),
		"primary "+strings.TrimPrefix(req.GetName(), "servers/"), req.GetRequestId(),
		primarySteps())
	if req.GetValidateOnly() {
		return &cpv1.CreateServerResponse{Job: planOf(job)}, nil
	}
	s.add(&cpv1.Server{Name: job.GetSubject(), Role: cpv1.Server_ROLE_PRIMARY})
	return &cpv1.CreateServerResponse{Job: s.play(primaryScript(job))}, nil
}

func (s *Server) taken(name string) error {
	if r, _ := s.server(name); r == nil {
		return nil
	}
	return errs.New(errs.AlreadyExists, errorsv1.Reason_REASON_ALREADY_EXISTS,
		"there is a server "+strings.TrimPrefix(name, "servers/")+" already",
		errs.WithHint("use another name; that of a server is free again once it is deleted"))
}

// add makes a server that is READY, whatever its job says.
func (s *Server) add(r *cpv1.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.State, r.Address, r.Port, r.Etag = cpv1.Server_STATE_READY, "10.88.0.5", 3306, "e1"
	s.scene.servers = append(s.scene.servers, r)
}

// planOf is a job that is not to be run.
func planOf(job *cpv1.Job) *cpv1.Job {
	job.Name, job.State = "", cpv1.Job_STATE_UNSPECIFIED
	for _, step := range job.GetSteps() {
		step.State = cpv1.Step_STATE_UNSPECIFIED
		step.Changed = []string{strings.ReplaceAll(step.GetName(), "_", " ")}
	}
	return job
}

// CreateReplica starts a job, or answers with the plan.
func (s *Server) CreateReplica(_ context.Context,
	req *cpv1.CreateReplicaRequest) (*cpv1.CreateReplicaResponse, error) {
	primary := req.GetPrimary()
	if req.GetSnapshot() != "" {
		snapshot, err := s.snapshot(req.GetSnapshot())
		if err != nil {
			return nil, err
		}
		if snapshot.GetState() != cpv1.Snapshot_STATE_READY {
			return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
				"cannot make a replica from "+snapshot.GetName()+": it is "+
					snapshot.GetState().String(),
				errs.WithHint("wait until it is READY, or take another one"))
		}
		primary = snapshot.GetServer()
	}
	if _, err := s.server(primary); err != nil {
		return nil, err
	}
	if err := s.taken(req.GetName()); err != nil {
		return nil, err
	}
	id := strings.TrimPrefix(req.GetName(), "servers/")
	title := "replica " + id + " of " + strings.TrimPrefix(primary, "servers/") +
		", verified " + enum.Word(req.GetVerify())
	job := newJob("j-0101", cpv1.Job_KIND_CREATE_REPLICA, req.GetName(), title,
		req.GetRequestId(), replicaSteps())
	if !req.GetValidateOnly() {
		s.add(&cpv1.Server{Name: job.GetSubject(), Role: cpv1.Server_ROLE_REPLICA, Primary: primary,
			Verified:       &cpv1.Verification{Level: req.GetVerify(), Time: ago(0)},
			MariadbVersion: "11.8.6"})
		return &cpv1.CreateReplicaResponse{Job: s.play(replicaScript(job, id))}, nil
	}
	plan := planOf(job)
	plan.Steps[0].Found, plan.Steps[0].Changed = []string{"primary db1 is READY, MariaDB 11.8.6",
		"it has binary logs from 0-101-1 on"}, []string{"allot server_id 104"}
	plan.Steps[7].Found, plan.Steps[7].Changed = []string{"datadir and binary are both 11.8"},
		[]string{"nothing"}
	if strings.HasPrefix(id, "refused") {
		plan.Steps[0].Error = &cpv1.JobError{Message: "the primary purged mysql-bin.000003, " +
			"which the snapshot needs", Reason: "BINLOGS_PURGED",
			Hint: &errorsv1.Hint{Text: "take a new snapshot"}}
	}
	return &cpv1.CreateReplicaResponse{Job: plan}, nil
}

// VerifyReplica starts a job.
func (s *Server) VerifyReplica(_ context.Context,
	req *cpv1.VerifyReplicaRequest) (*cpv1.VerifyReplicaResponse, error) {
	r, err := s.server(req.GetName())
	if err != nil {
		return nil, err
	}
	if r.GetRole() != cpv1.Server_ROLE_REPLICA {
		return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_WRONG_ROLE,
			"cannot verify "+r.GetName()+": it is not a replica",
			errs.WithHint("name a replica", errs.Call("ListServers")))
	}
	job := newJob("j-0105", cpv1.Job_KIND_VERIFY_REPLICA, req.GetName(), "verify "+
		strings.TrimPrefix(req.GetName(), "servers/")+" ("+enum.Word(req.GetLevel())+")",
		req.GetRequestId(), [][2]string{{"verify", "the data is equal"}})
	if req.GetValidateOnly() {
		return &cpv1.VerifyReplicaResponse{Job: planOf(job)}, nil
	}
	if r.GetState() == cpv1.Server_STATE_UNREACHABLE {
		sc := newScript(job)
		sc.begin("verify")
		sc.fail("verify", time.Second, &cpv1.JobError{Message: "its agent does not answer"},
			cpv1.Step_STATE_FAILED, cpv1.Job_STATE_FAILED)
		return &cpv1.VerifyReplicaResponse{Job: s.play(sc)}, nil
	}
	return &cpv1.VerifyReplicaResponse{Job: s.play(oneStep(job, nil))}, nil
}

// RebuildReplica starts a job.
func (s *Server) RebuildReplica(_ context.Context,
	req *cpv1.RebuildReplicaRequest) (*cpv1.RebuildReplicaResponse, error) {
	r, err := s.server(req.GetName())
	if err != nil {
		return nil, err
	}
	if req.GetEtag() != r.GetEtag() {
		return nil, errs.New(errs.Aborted, errorsv1.Reason_REASON_ETAG_MISMATCH,
			r.GetName()+" changed since it was read",
			errs.WithHint("read it again and decide again", errs.Call("GetServer", "name",
				r.GetName())))
	}
	job := newJob("j-0107", cpv1.Job_KIND_REBUILD_REPLICA, req.GetName(), "rebuild "+
		strings.TrimPrefix(req.GetName(), "servers/")+" from a new snapshot of db1",
		req.GetRequestId(), [][2]string{{"swap_volume", "a volume from the snapshot is attached"}})
	if req.GetValidateOnly() {
		return &cpv1.RebuildReplicaResponse{Job: planOf(job)}, nil
	}
	return &cpv1.RebuildReplicaResponse{Job: s.play(oneStep(job, nil))}, nil
}

// PurgeBinlogs starts a job.
func (s *Server) PurgeBinlogs(_ context.Context,
	req *cpv1.PurgeBinlogsRequest) (*cpv1.PurgeBinlogsResponse, error) {
	if _, err := s.server(req.GetName()); err != nil {
		return nil, err
	}
	job := newJob("j-0106", cpv1.Job_KIND_PURGE_BINLOGS, req.GetName(), "purge binary logs of "+
		strings.TrimPrefix(req.GetName(), "servers/"), req.GetRequestId(),
		[][2]string{{"purge", "binary logs that nothing needs are deleted"}})
	if req.GetValidateOnly() {
		return &cpv1.PurgeBinlogsResponse{Job: planOf(job)}, nil
	}
	return &cpv1.PurgeBinlogsResponse{Job: s.play(oneStep(job, nil))}, nil
}

// UpdateServer changes a server in the answer alone.
func (s *Server) UpdateServer(_ context.Context,
	req *cpv1.UpdateServerRequest) (*cpv1.UpdateServerResponse, error) {
	r, err := s.server(req.GetServer().GetName())
	if err != nil {
		return nil, err
	}
	if req.GetServer().GetBinlogAutoPurge() {
		return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_AUTO_PURGE_CONFLICT,
			"cannot turn on binlog auto purge of "+r.GetName()+
				": db2 and db3 follow it and need its binary logs",
			errs.WithHint("leave it off while the server has replicas"))
	}
	r.BinlogAutoPurge = req.GetServer().GetBinlogAutoPurge()
	return &cpv1.UpdateServerResponse{Server: r}, nil
}

// DeleteServer starts a job.
func (s *Server) DeleteServer(_ context.Context,
	req *cpv1.DeleteServerRequest) (*cpv1.DeleteServerResponse, error) {
	r, err := s.server(req.GetName())
	if err != nil {
		return nil, err
	}
	if err := sameEtag(r.GetEtag(), req.GetEtag(), req.GetName()); err != nil {
		return nil, err
	}
	job := newJob("j-0102", cpv1.Job_KIND_DELETE_SERVER, req.GetName(),
		"delete "+strings.TrimPrefix(req.GetName(), "servers/"), req.GetRequestId(),
		[][2]string{{"remove_machine", "the machine and its volumes are gone"}})
	if req.GetValidateOnly() {
		return &cpv1.DeleteServerResponse{Job: planOf(job)}, nil
	}
	return &cpv1.DeleteServerResponse{Job: s.play(oneStep(job, []string{"removed it"}))}, nil
}

func sameEtag(is, said, name string) error {
	if is == said {
		return nil
	}
	return errs.New(errs.Aborted, errorsv1.Reason_REASON_ETAG_MISMATCH,
		name+" changed since it was read", errs.WithHint("read it again, and decide again"))
}

func oneStep(job *cpv1.Job, changed []string) *script {
	sc := newScript(job)
	name := job.GetSteps()[0].GetName()
	sc.begin(name)
	sc.done(name, time.Second, nil, changed)
	sc.succeed()
	return sc
}
