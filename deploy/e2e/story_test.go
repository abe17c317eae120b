//go:build lab

package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// TestStory walks the road that broke: a replica on a host whose mariadb.service is masked, whose
// default data volume is mounted and has to go, from a snapshot of a primary that is being written
// to and purges its binary logs by itself.
func TestStory(t *testing.T) {
	t.Parallel()
	l := newLab(t, "story")
	l.run("server", "create", "db1", "--image", "trixie", "--binlog-auto-purge")
	writer := l.writer("db1")
	l.expires(t, "db1", 3*24*60*60)

	l.refuse([]string{"NOT_FOUND", "db9", "hint"}, "snapshot", "create", "db9")
	writer.Reset()
	l.run("snapshot", "create", "db1")
	t.Logf("the longest commit while the snapshot was taken: %s", writer.Longest())
	snapshot := l.snapshot()
	l.checkPlan(snapshot)
	l.run("replica", "create", "db2", "--from", snapshot.GetName(), "--image", "trixie-masked",
		"--verify", "full")

	l.part("the replica is one", func(l *lab, t *testing.T) { l.checkReplica(t, snapshot) })
	l.part("the default volume is gone and nothing names it", (*lab).checkMounts)
	l.part("grpcurl drives an agent and the control plane", (*lab).testGrpcurl)
	l.part("the audit has who called what", (*lab).testAudit)
	l.part("auto purge and replication exclude each other", (*lab).checkAutoPurge)
	l.part("any step retried alone is a no-op", (*lab).checkRetries)
	l.part("configure_replica converges on a stopped MariaDB", (*lab).checkStopped)
	l.part("the data of a READY replica are made again", (*lab).checkRedone)
	l.part("mounts and replication survive a reboot", (*lab).checkReboot)
	l.part("binary logs go when no snapshot and no replica needs them", (*lab).checkPurgeBinlogs)
	l.part("nothing purges after the last reservation, until somebody says so",
		(*lab).checkPurgeIsReal)
}

// snapshot is the one snapshot of the lab.
func (l *lab) snapshot() *cpv1.Snapshot {
	l.t.Helper()
	answer, err := cpv1.NewSnapshotServiceClient(l.conn).ListSnapshots(l.t.Context(),
		&cpv1.ListSnapshotsRequest{})
	if err != nil {
		l.t.Fatal(err)
	}
	if len(answer.GetSnapshots()) != 1 {
		l.t.Fatalf("expected one snapshot, found %d", len(answer.GetSnapshots()))
	}
	s := answer.GetSnapshots()[0]
	if s.GetState() != cpv1.Snapshot_STATE_READY || s.GetPoint().GetPosition() == "" ||
		s.GetPoint().GetNonce() == "" {
		l.t.Fatalf("the snapshot is not a proved one: %v", s)
	}
	if blocked := s.GetWriteBlock().AsDuration(); blocked <= 0 ||
		blocked > 10*time.Second {
		l.t.Errorf("writes were blocked for %s, not for more than 0 and at most 10 s", blocked)
	}
	return s
}

// checkPlan asks for a plan, which names every step and makes nothing.
func (l *lab) checkPlan(snapshot *cpv1.Snapshot) {
	l.t.Helper()
	before := len(l.objects("machine"))
	plan := l.run("replica", "create", "db2", "--from", snapshot.GetName(), "--image",
		"trixie-masked", "--dry-run")
	for _, step := range []string{"plan", "create_machine", "swap_volume", "mount_data",
		"start_mariadb", "configure_replica", "verify", "finish"} {
		if !strings.Contains(plan, step) {
			l.t.Errorf("the plan does not name %s:\n%s", step, plan)
		}
	}
	if after := len(l.objects("machine")); after != before {
		l.t.Errorf("a plan made %d machines", after-before)
	}
}

func (l *lab) checkReplica(t *testing.T, snapshot *cpv1.Snapshot) {
	s := l.server("db2")
	if s.GetState() != cpv1.Server_STATE_READY || s.GetRole() != cpv1.Server_ROLE_REPLICA ||
		s.GetVerified().GetLevel() != cpv1.VerifyLevel_VERIFY_LEVEL_FULL {
		t.Errorf("db2 is %v", s)
	}
	if s.GetServerId() == l.server("db1").GetServerId() {
		t.Error("both servers have one server_id")
	}
	if n := l.starts("db2"); n != 1 {
		t.Errorf("MariaDB was started %d times, not once", n)
	}
	if got := l.sql("db2", "SELECT @@read_only, @@server_id"); got != fmt.Sprintf("1\t%d",
		s.GetServerId()) {
		t.Errorf("read_only and server_id are %q", got)
	}
	step := stepOf(l.lastJob("create_replica"), "start_mariadb")
	if !strings.Contains(strings.Join(step.GetFound(), "\n"), snapshot.GetPoint().GetPosition()) {
		t.Errorf("start_mariadb does not say that it found the recorded position %s: %v",
			snapshot.GetPoint().GetPosition(), step.GetFound())
	}
	status := l.exec("db2", "mariadb", "--execute=SHOW REPLICA STATUS\\G")
	for _, want := range []string{"Slave_IO_Running: Yes", "Slave_SQL_Running: Yes",
		"Master_SSL_Allowed: Yes", "Master_SSL_Verify_Server_Cert: Yes", "Using_Gtid: Slave_Pos"} {
		if !strings.Contains(status, want) {
			t.Errorf("replica status lacks %q", want)
		}
	}
	l.same("db1", "db2")
}

func (l *lab) checkMounts(t *testing.T) {
	s := l.server("db2")
	volumes := l.objects("volume")
	var attached []string
	for _, v := range volumes {
		if v.GetMachine() == s.GetMachine() {
			attached = append(attached, v.GetId())
		}
	}
	if !slices.Equal(attached, []string{s.GetDataVolume()}) {
		t.Errorf("the provider has %v attached to db2, its record says %s", attached,
			s.GetDataVolume())
	}
	for _, m := range s.GetMounts() {
		if m.GetVolume() != "" && m.GetVolume() != s.GetDataVolume() {
			t.Errorf("the record has a mount on another volume: %v", m)
		}
	}
	unit := l.exec("db2", "systemctl", "cat", "srv-mariadb.mount")
	if !strings.Contains(unit, "virtio-"+s.GetDataVolume()) {
		t.Errorf("the mount unit does not name the data volume %s:\n%s", s.GetDataVolume(), unit)
	}
	device := l.exec("db2", "readlink", "-f", "/dev/disk/by-id/virtio-"+s.GetDataVolume())
	if got := l.exec("db2", "findmnt", "--noheadings", "--output", "SOURCE", "--mountpoint",
		"/srv/mariadb"); got != device {
		t.Errorf("/srv/mariadb is on %s, the data volume is %s", got, device)
	}
	if got := l.exec("db2", "findmnt", "--noheadings", "--output", "SOURCE", "--target",
		"/var/lib/mysql/ibdata1"); !strings.HasPrefix(got, device) {
		t.Errorf("the datadir is on %s, the data volume is %s", got, device)
	}
}

func (l *lab) checkAutoPurge(t *testing.T) {
	for _, name := range []string{"db1", "db2"} {
		if l.server(name).GetBinlogAutoPurge() {
			t.Errorf("%s still purges its binary logs by itself", name)
		}
		l.refuse([]string{"AUTO_PURGE_CONFLICT"}, "server", "update", name,
			"--binlog-auto-purge=true")
		l.expires(t, name, 0)
	}
}

// expires sees that a host's MariaDB deletes binary logs of that age in seconds, now and after a
// restart; 0 is never.
func (l *lab) expires(t *testing.T, host string, seconds int) {
	t.Helper()
	if got := l.sql(host, "SELECT @@binlog_expire_logs_seconds"); got != strconv.Itoa(seconds) {
		t.Errorf("%s deletes binary logs after %s s, not %d", host, got, seconds)
	}
	file := "\n" + l.exec(host, "cat", "/etc/mysql/mariadb.conf.d/zz-understudy.cnf") + "\n"
	if !strings.Contains(file, fmt.Sprintf("\nbinlog_expire_logs_seconds=%d\n", seconds)) {
		t.Errorf("the option file of %s does not say %d:\n%s", host, seconds, file)
	}
}

// checkPurgeBinlogs purges while the snapshot reserves its binary log, and after the snapshot went.
func (l *lab) checkPurgeBinlogs(t *testing.T) {
	snapshot := l.snapshot()
	reserved := snapshot.GetPoint().GetBinlogFile()
	purge := func() string {
		l.sql("db1", "FLUSH BINARY LOGS")
		l.same("db1", "db2")
		l.run("server", "purge-binlogs", "db1")
		l.same("db1", "db2")
		return l.sql("db1", "SHOW BINARY LOGS")
	}
	if logs := purge(); !strings.Contains(logs, reserved) {
		t.Errorf("%s, which a snapshot reserves, is gone:\n%s", reserved, logs)
	}
	l.run("snapshot", "delete", snapshot.GetName(), "--yes")
	if logs := purge(); strings.Contains(logs, reserved) {
		t.Errorf("%s, which nothing needs, is there still:\n%s", reserved, logs)
	}
}

// checkPurgeIsReal begins without a reservation, and takes the replica away.
func (l *lab) checkPurgeIsReal(t *testing.T) {
	if file := l.exec("db1", "cat",
		"/etc/mysql/mariadb.conf.d/zz-understudy.cnf"); strings.Contains(file, "reserved") {
		t.Errorf("binary logs of db1 are reserved still:\n%s", file)
	}
	l.expires(t, "db1", 0)
	l.run("server", "delete", "db2", "--yes")
	for _, seconds := range []int{3 * 24 * 60 * 60, 0} {
		l.run("server", "update", "db1", fmt.Sprintf("--binlog-auto-purge=%v", seconds > 0))
		if got := l.server("db1").GetBinlogAutoPurge(); got != (seconds > 0) {
			t.Errorf("binlog auto purge is %v by the record", got)
		}
		l.expires(t, "db1", seconds)
	}
	l.exec("db1", "systemctl", "stop", "understudy-agent.service")
	l.refuse([]string{"AGENT_UNREACHABLE", "stays off"}, "server", "update", "db1",
		"--binlog-auto-purge=true")
	if l.server("db1").GetBinlogAutoPurge() {
		t.Error("the record says what MariaDB was not told")
	}
}

// checkRetries runs each step of the replica's job alone and looks for any change that it made.
func (l *lab) checkRetries(t *testing.T) {
	job := l.lastJob("create_replica")
	before := l.fingerprint()
	for _, step := range job.GetSteps() {
		l.run("job", "retry", job.GetName(), "--step", step.GetName())
		after := l.lastJob("create_replica")
		if after.GetState() != cpv1.Job_STATE_SUCCEEDED {
			t.Errorf("after the retry of %s the job is %s: %v", step.GetName(), after.GetState(),
				stepOf(after, step.GetName()).GetError())
		}
		if got := l.fingerprint(); got != before {
			t.Errorf("the retry of %s changed the world from\n%s\nto\n%s", step.GetName(), before,
				got)
			before = got
		}
	}
	l.same("db1", "db2")
}

// fingerprint is what must not change when a step that is done is run again.
func (l *lab) fingerprint() string {
	var ids []string
	for _, kind := range []string{"machine", "volume", "snapshot"} {
		for _, o := range l.objects(kind) {
			ids = append(ids, kind+" "+o.GetId()+" "+o.GetMachine()+o.GetAddress())
		}
	}
	s := proto.CloneOf(l.server("db2"))
	s.LastSeenTime, s.Disk, s.Etag, s.Proofs = nil, nil, "", nil
	s.Verified.Time, s.Verified.Gtid = nil, "" // verify compares at a position of its own
	return strings.Join(append(ids,
		s.String(),
		l.exec("db2", "systemctl", "show", "--property=InvocationID,MainPID", "mariadb.service",
			"srv-mariadb.mount", "var-lib-mysql.mount"),
		l.exec("db2", "findmnt", "--noheadings", "--output", "TARGET,SOURCE,UUID", "--mountpoint",
			"/srv/mariadb"),
		l.exec("db2", "sha256sum", "/etc/mysql/mariadb.conf.d/zz-understudy.cnf"),
		l.sql("db1", "SELECT User, Host FROM mysql.user ORDER BY 1, 2"),
	), "\n")
}

func (l *lab) checkStopped(t *testing.T) {
	job := l.lastJob("create_replica")
	l.exec("db2", "systemctl", "stop", "mariadb.service")
	l.run("job", "retry", job.GetName(), "--step", "configure_replica")
	if got := l.sql("db2", "SELECT 1"); got != "1" {
		t.Error("MariaDB does not answer after the retry")
	}
	l.same("db1", "db2")
}

// checkRedone has the replica's volume made again, on the same machine, which needs a confirmation.
func (l *lab) checkRedone(t *testing.T) {
	redo := []string{"job", "redo", l.lastJob("create_replica").GetName(), "swap_volume",
		"--reason", "error 1032"}
	l.refuse([]string{"DATA_LOSS_NOT_CONFIRMED", "--yes-delete db2"}, redo...)
	l.run(append(redo, "--yes-delete", "db2")...)
	l.checkMounts(t)
	l.same("db1", "db2")
}

func (l *lab) checkReboot(t *testing.T) {
	if err := l.Lab(t.Context(), "reboot", "db2").Run(); err != nil {
		t.Fatal(err)
	}
	job := l.lastJob("create_replica")
	l.run("job", "retry", job.GetName(), "--step", "finish")
	l.checkMounts(t)
	l.same("db1", "db2")
}

func stepOf(job *cpv1.Job, name string) *cpv1.Step {
	for _, s := range job.GetSteps() {
		if s.GetName() == name {
			return s
		}
	}
	return nil
}
