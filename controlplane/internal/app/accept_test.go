package app_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// otherHistory has the agent of db1 take its binary log for another one than db2 follows.
func (p *plane) otherHistory(reason string) {
	p.t.Helper()
	p.change(func(db1 *workflowtest.Host) { db1.History, db1.Reason = reason, reason })
	p.awaits("db2 is DEGRADED", func() bool {
		state, text := p.state()
		return state == cpv1.Server_STATE_DEGRADED && strings.Contains(text, "LINEAGE_BROKEN") &&
			strings.Contains(text, reason)
	})
}

// verify compares all of db2, and gives the job once it ended.
func (p *plane) verify(accept string) *cpv1.Job {
	p.t.Helper()
	answer, err := p.servers().VerifyReplica(p.t.Context(), &cpv1.VerifyReplicaRequest{
		Name: "servers/db2", Level: cpv1.VerifyLevel_VERIFY_LEVEL_FULL, AcceptHistory: accept})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.until(answer.GetJob().GetName(), ended)
}

func ended(j *cpv1.Job) bool {
	return j.GetState() == cpv1.Job_STATE_SUCCEEDED || j.GetState() == cpv1.Job_STATE_FAILED
}

// failedWith reports whether a step failed with that reason.
func failedWith(j *cpv1.Job, reason errorsv1.Reason) bool {
	return slices.ContainsFunc(j.GetSteps(), func(s *cpv1.Step) bool {
		return s.GetError().GetReason() == strings.TrimPrefix(reason.String(), "REASON_")
	})
}

// TestAHistoryIsAcceptedWithAllTheData has the log of db1 taken for another one that it is not: a
// claim whose file was purged while the agent's state was lost.
func TestAHistoryIsAcceptedWithAllTheData(t *testing.T) {
	t.Parallel()
	const why = "the agent was reinstalled after a purge"
	p := pair(t)
	p.otherHistory("no mariadb-bin.000001 any more")
	if j := p.verify(""); !failedWith(j, errorsv1.Reason_REASON_GTID_MISMATCH) {
		t.Errorf("without being asked for: %v", j)
	}
	for _, wrong := range []*cpv1.VerifyReplicaRequest{
		{Level: cpv1.VerifyLevel_VERIFY_LEVEL_SAMPLE, AcceptHistory: why},
		{Level: cpv1.VerifyLevel_VERIFY_LEVEL_FULL, AcceptHistory: "WHY"}, // as the hint has it
	} {
		wrong.Name = "servers/db2"
		_, err := p.servers().VerifyReplica(t.Context(), wrong)
		refused(t, err, errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD)
	}
	if j := p.verify(why); j.GetState() != cpv1.Job_STATE_SUCCEEDED {
		t.Fatalf("job %v", j)
	}
	p.awaits("db2 is READY", func() bool {
		state, _ := p.state()
		return state == cpv1.Server_STATE_READY
	})
	events, err := p.jobs().ListEvents(t.Context(),
		&cpv1.ListEventsRequest{Subject: "servers/db2"})
	if err != nil || !slices.ContainsFunc(events.GetEvents(), func(e *cpv1.Event) bool {
		return strings.Contains(e.GetText(), why)
	}) {
		t.Errorf("no event has the reason: %v %v", events, err)
	}
	p.otherHistory("RESET MASTER")
}

// TestAHistoryIsNotAcceptedForOtherData has the same for a replica that is no copy any more.
func TestAHistoryIsNotAcceptedForOtherData(t *testing.T) {
	t.Parallel()
	p := pair(t)
	p.otherHistory("a tail that a crash took")
	p.change(func(*workflowtest.Host) {
		p.World.Hosts["db2"].DatadirDisk().Data.Tables["shop.orders"]++
	})
	if j := p.verify("nothing is lost"); j.GetState() != cpv1.Job_STATE_FAILED ||
		!failedWith(j, errorsv1.Reason_REASON_DATA_MISMATCH) {
		t.Errorf("job %v", j)
	}
	if state, text := p.state(); state != cpv1.Server_STATE_DEGRADED ||
		!strings.Contains(text, "LINEAGE_BROKEN") {
		t.Errorf("db2 is %s: %s", state, text)
	}
}

// TestNoOtherHistoryIsAcceptedThanTheOneThatWas has a tail lost while the data is compared: neither
// that job follows the history since, nor the same one when it is retried.
func TestNoOtherHistoryIsAcceptedThanTheOneThatWas(t *testing.T) {
	t.Parallel()
	p := pair(t)
	p.otherHistory("no mariadb-bin.000001 any more")
	p.World.Mu.Lock()
	p.proc.Behind["ChecksumTables"] = func() {
		p.change(func(db1 *workflowtest.Host) {
			db1.History, db1.Reason = "another one", "a tail that a crash took"
		})
	}
	p.World.Mu.Unlock()
	j := p.verify("a purge, see INC-7")
	if j.GetState() != cpv1.Job_STATE_FAILED ||
		!failedWith(j, errorsv1.Reason_REASON_GTID_MISMATCH) {
		t.Errorf("job %v", j)
	}
	if _, err := p.jobs().RetryJob(t.Context(),
		&cpv1.RetryJobRequest{Name: j.GetName()}); err != nil {
		t.Fatal(err)
	}
	if j = p.until(j.GetName(), ended); j.GetState() != cpv1.Job_STATE_FAILED {
		t.Errorf("retried: job %v", j)
	}
	if state, text := p.state(); state != cpv1.Server_STATE_DEGRADED ||
		!strings.Contains(text, "LINEAGE_BROKEN") {
		t.Errorf("db2 is %s: %s", state, text)
	}
}
