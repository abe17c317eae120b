//go:build lab

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/deploy/stack"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// TestLongKilled kills the control plane (-9) in the middle of each job, starts it again, and
// expects that the job goes on by itself and ends well, with everything made once.
func TestLongKilled(t *testing.T) {
	t.Parallel()
	l := newLab(t, "killed")
	l.run("server", "create", "db1", "--image", "trixie")
	writer := l.writer("db1")

	l.part("while the primary is quiesced", func(l *lab,
		t *testing.T) {
		l.killQuiesced(t, writer)
	})
	l.part("in the middle of a replica", (*lab).killReplica)
	l.part("a row written on the copy", (*lab).plantRow)
}

// restartWith ends the control plane and starts it with a failpoint.
func (l *lab) restartWith(failpoint string) {
	l.t.Helper()
	l.Stop()
	if failpoint == "" {
		l.start()
		return
	}
	l.start("UNDERSTUDY_FAILPOINT=" + failpoint)
}

// awaitKilled waits until the failpoint ended the control plane.
func (l *lab) awaitKilled(limit time.Duration) {
	l.t.Helper()
	select {
	case <-l.Exited():
	case <-time.After(limit):
		l.t.Fatal("the failpoint was not reached")
	}
}

// killQuiesced kills the control plane when MariaDB is quiesced and no snapshot was taken: the host
// itself lets go of the primary.
func (l *lab) killQuiesced(t *testing.T, writer *stack.Writer) {
	l.restartWith("after_commit:quiesce")
	writer.Reset()
	l.run("snapshot", "create", "db1", "--detach")
	l.awaitKilled(4 * time.Minute)
	before := writer.Commits()
	awaitTrue(t, 30*time.Second, "the primary takes writes again, nobody having told it",
		func() bool { return writer.Commits() > before+20 })
	if longest := writer.Longest(); longest > 13*time.Second {
		t.Errorf("a commit took %s, more than the limit and 3 s", longest)
	}
	t.Logf("the longest commit while nobody was there to release: %s", writer.Longest())

	l.start()
	job := l.await(l.lastJob("take_snapshot").GetName(), 4*time.Minute, cpv1.Job_STATE_SUCCEEDED,
		cpv1.Job_STATE_FAILED)
	if job.GetState() != cpv1.Job_STATE_SUCCEEDED {
		t.Fatalf("the job did not go on: %v", job.GetError())
	}
	if n := len(l.objects("snapshot")); n != 1 {
		t.Errorf("the provider has %d snapshots, not 1", n)
	}
	if step := stepOf(job, "quiesce"); step.GetGeneration() < 2 {
		t.Errorf("the point that was lost was used: generation %d", step.GetGeneration())
	}
}

func (l *lab) killReplica(t *testing.T) {
	l.restartWith("after_effect:mount_data")
	l.run("replica", "create", "db2", "--of", "db1", "--image", "trixie-masked", "--detach")
	l.awaitKilled(4 * time.Minute)
	l.start()
	job := l.await(l.lastJob("create_replica").GetName(), 4*time.Minute, cpv1.Job_STATE_SUCCEEDED,
		cpv1.Job_STATE_FAILED)
	if job.GetState() != cpv1.Job_STATE_SUCCEEDED {
		t.Fatalf("the job did not go on: %v", job.GetError())
	}
	if stepOf(job, "mount_data").GetAttempts() < 2 {
		t.Error("mount_data was not run again after the kill")
	}
	if n := l.starts("db2"); n != 1 {
		t.Errorf("MariaDB was started %d times, not once", n)
	}
	if machines, volumes := len(l.objects("machine")), len(l.objects("volume")); machines != 2 ||
		volumes != 2 {
		t.Errorf("there are %d machines and %d volumes, not 2 and 2", machines, volumes)
	}
	l.same("db1", "db2")
}

// plantRow writes one row on the copy between its start and its replication: silent divergence, if
// nobody looks.
func (l *lab) plantRow(t *testing.T) {
	l.restartWith("after_commit:start_mariadb")
	l.run("replica", "create", "db3", "--of", "db1", "--image", "trixie-masked", "--detach")
	l.awaitKilled(4 * time.Minute)
	l.sql("db3", "INSERT INTO probe.probe VALUES (-1, NOW(6))")
	l.start()
	job := l.await(l.lastJob("create_replica").GetName(), 4*time.Minute, cpv1.Job_STATE_SUCCEEDED,
		cpv1.Job_STATE_FAILED, cpv1.Job_STATE_ACTION_REQUIRED)
	if job.GetState() != cpv1.Job_STATE_FAILED {
		t.Fatalf("the job is %s although the copy wrote a row of its own", job.GetState())
	}
	if !strings.HasPrefix(job.GetError().GetReason(), "GTID_") || job.GetError().GetHint() == nil {
		t.Errorf("the refusal does not say what is wrong and what to do: %v", job.GetError())
	}
	if threads := l.sql("db3", "SHOW REPLICA STATUS"); threads != "" {
		t.Errorf("replication was configured on it: %s", threads)
	}
	if s := l.server("db3"); s.GetState() != cpv1.Server_STATE_FAILED {
		t.Errorf("its record is %s", s.GetState())
	}
	l.run("job", "cleanup", job.GetName())
	if machines := len(l.objects("machine")); machines != 2 {
		t.Errorf("after the cleanup there are %d machines, not 2", machines)
	}
	if accounts := l.sql("db1",
		"SELECT User FROM mysql.user WHERE User LIKE 'us\\_%'"); accounts != "us_db2" {
		t.Errorf("after the cleanup the primary has the accounts %q", accounts)
	}
}

// awaitTrue polls a condition for which there is no event.
func awaitTrue(t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(limit)
	for !condition() {
		select {
		case <-end:
			t.Fatalf("not so within %s: %s", limit, what)
		case <-tick.C:
		}
	}
}
