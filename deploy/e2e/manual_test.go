//go:build lab

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/understudy-db/understudy/deploy/stack"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// hand is a person with a hypervisor: it reads tasks and answers them through the command line, and
// does them with the lab's own tool.
type hand struct {
	*lab
	snapshots map[string]string // what the lab calls a snapshot
	// what is done once in place of the right thing, by kind of task
	instead map[string]func(task *cpv1.Task)
	since   time.Time
	did     []string // kinds of the tasks done, in order
}

// made is what the lab's tool says that it made.
type made struct {
	Host, Address, Volume, Device, Snapshot string
	SizeBytes                               int64 `json:"size_bytes"`
}

// lab runs the lab's tool.
func (h *hand) tool(args ...string) (out made) {
	h.t.Helper()
	return h.toolWith("", args...)
}

func (h *hand) toolWith(stdin string, args ...string) (out made) {
	h.t.Helper()
	cmd := h.Lab(h.t.Context(), args...)
	cmd.Stdin = strings.NewReader(stdin)
	text, err := cmd.Output()
	if err == nil && len(text) > 0 {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		h.t.Fatalf("understudy-lab %s: %v: %s", strings.Join(args, " "), err, text)
	}
	return out
}

// tasks are what is asked now, as the command line tells scripts.
func (h *hand) tasks() []*cpv1.Task {
	h.t.Helper()
	out, err := h.CLI(h.t.Context(), "provider", "tasks", "-o", "json").Output()
	if err != nil {
		h.t.Fatal(err)
	}
	answer := &cpv1.ListTasksResponse{}
	if err := protojson.Unmarshal(out, answer); err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
	return answer.GetTasks()
}

// until does what is asked until the job rests.
func (h *hand) until(job string, want cpv1.Job_State) *cpv1.Job {
	h.t.Helper()
	begun := map[string]bool{}
	ctx, cancel := context.WithTimeout(h.t.Context(), 4*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := cpv1.NewJobServiceClient(h.conn).GetJob(ctx, &cpv1.GetJobRequest{Name: job})
		if err != nil {
			h.t.Fatal(err)
		}
		switch state := answer.GetJob().GetState(); state {
		case want:
			return answer.GetJob()
		case cpv1.Job_STATE_SUCCEEDED, cpv1.Job_STATE_FAILED, cpv1.Job_STATE_CANCELLED:
			h.t.Fatalf("the job is %s:\n%s", state, protojson.Format(answer.GetJob()))
		}
		for _, task := range h.tasks() {
			if !begun[task.GetId()] {
				begun[task.GetId()] = true
				h.do(task)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			h.t.Fatalf("the job does not become %s:\n%s", want, protojson.Format(answer.GetJob()))
		}
	}
}

func (h *hand) do(task *cpv1.Task) {
	h.t.Helper()
	if other := h.instead[enum.Word(task.GetKind())]; other != nil {
		delete(h.instead, enum.Word(task.GetKind()))
		other(task)
		return
	}
	h.did = append(h.did,
		fmt.Sprintf("%s after %s", enum.Word(task.GetKind()),
			time.Since(h.since).Round(time.Second)))
	var word []string
	switch enum.Word(task.GetKind()) {
	case "make_machine":
		word = h.makeMachine(task)
	case "make_volume":
		args := []string{"volume", "create", "--bytes", strconv.FormatInt(task.GetSizeBytes(), 10)}
		if task.GetSnapshot() != "" {
			args = append(args, "--from", h.snapshots[task.GetSnapshot()])
		}
		word = []string{"--device", h.tool(args...).Device}
	case "attach_volume":
		h.tool("volume", "attach", task.GetDevice(), task.GetMachineName())
		return // the host shows it
	case "detach_volume":
		h.tool("volume", "detach", task.GetDevice(), task.GetMachineName())
		return
	case "delete_volume":
		h.tool("volume", "delete", task.GetDevice())
	case "take_snapshot":
		h.snapshots[task.GetObject()] = h.tool("snapshot", "create", task.GetDevice()).Snapshot
		word = []string{"--label", "the copy of " + task.GetMachineName()}
	case "delete_snapshot":
		h.tool("snapshot", "delete", h.snapshots[task.GetObject()])
	case "destroy_machine":
		h.tool("destroy", task.GetMachineName())
	default:
		h.t.Fatalf("nobody told me how: %s", task.GetInstruction())
	}
	h.run(append([]string{"provider", "done", task.GetId()}, word...)...)
}

// makeMachine does what the sentence says: a machine with the agent, and the join file on it.
func (h *hand) makeMachine(task *cpv1.Task) []string {
	h.t.Helper()
	join, err := h.CLI(h.t.Context(), "token", "create", task.GetMachineName(),
		"--replace", "--out", "-").Output()
	if err != nil {
		h.t.Fatal(err)
	}
	m := h.toolWith(string(join), "create", task.GetMachineName(), "--image", task.GetImage(),
		"--join", "-")
	word := []string{"--address", m.Address}
	if m.Device != "" {
		word = append(word, "--default-device", m.Device, "--size",
			strconv.FormatInt(m.SizeBytes, 10)+"B")
	}
	return word
}

// ask starts a job and leaves it to itself.
func (h *hand) ask(kind string, args ...string) string {
	h.t.Helper()
	h.run(append(args, "--detach")...)
	return h.lastJob(kind).GetName()
}

// waits is why the job waits, once that holds all of these words.
func (h *hand) waits(kind string, words ...string) {
	h.t.Helper()
	awaitTrue(h.t, 2*time.Minute, "the job says "+strings.Join(words, ", "), func() bool {
		text := protojson.Format(h.lastJob(kind))
		return !slices.ContainsFunc(words,
			func(word string) bool { return !strings.Contains(text, word) })
	})
}

// TestStoryOnManual walks the road with a person for a provider, who does not always do what was
// asked.
func TestStoryOnManual(t *testing.T) {
	t.Parallel()
	l := newLabOf(t, stack.Config{Name: "manual-story",
		Dir: filepath.Join("/var/lib/understudy-e2e", "manual-story"), Provider: "manual",
		ExtraArgs: []string{"--manual-images", "trixie=11.8,trixie-masked=11.8"}})
	h := &hand{lab: l, snapshots: map[string]string{}, instead: map[string]func(*cpv1.Task){},
		since: time.Now()}

	h.until(h.ask("create_primary", "server", "create", "db1", "--image", "trixie", "--size",
		"1GiB"), cpv1.Job_STATE_SUCCEEDED)
	h.sql("db1", "CREATE DATABASE shop; USE shop; CREATE TABLE shop.sale (id INT PRIMARY KEY "+
		"AUTO_INCREMENT, what TEXT); INSERT INTO shop.sale (what) SELECT UUID() FROM seq_1_to_2000")
	early := h.tool("snapshot", "create", h.device("db1")).Snapshot

	h.refuse([]string{"ACTION_REQUIRED", "--mode offline --quiesce-limit 30m"}, "snapshot",
		"create",
		"db1")
	h.snapshotByHand()
	h.sql("db1", "USE shop; INSERT INTO sale (what) SELECT UUID() FROM seq_1_to_100")

	h.wrongVolume(early)
	h.until(h.ask("create_replica", "replica", "create", "db2", "--from", h.ready(), "--image",
		"trixie-masked", "--verify", "full"), cpv1.Job_STATE_FAILED)
	replica := h.lastJob("create_replica")
	if e := stepOf(replica, "mount_data").GetError(); !strings.Contains(e.GetReason(), "NONCE") ||
		!slices.ContainsFunc(e.GetHint().GetActions(), func(a *errorsv1.Action) bool {
			return a.GetMethod() == "RedoStep" && a.GetArgs()["name"] == replica.GetName() &&
				a.GetArgs()["step"] == "swap_volume"
		}) {
		t.Errorf("a volume with another copy is not refused for what it is: %v", replica)
	}
	h.run("job", "redo", replica.GetName(), "swap_volume", "--reason", "it was the wrong copy",
		"--detach")
	h.until(replica.GetName(), cpv1.Job_STATE_SUCCEEDED)

	if s := h.server("db2"); s.GetState() != cpv1.Server_STATE_READY ||
		s.GetVerified().GetLevel() != cpv1.VerifyLevel_VERIFY_LEVEL_FULL {
		t.Errorf("the replica is %v", s)
	}
	const rows = "SELECT COUNT(*), SUM(CRC32(what)) FROM shop.sale"
	if a, b := h.sql("db1", rows), h.sql("db2", rows); a != b || !strings.HasPrefix(a, "2100\t") {
		t.Errorf("the primary has %s, the replica %s", a, b)
	}
	if device := h.device("db2"); h.exec("db2", "ls", "/dev/disk/by-id") != device {
		t.Errorf("%s is not the one device of db2", device)
	}
	h.refused(t)
	h.until(h.ask("delete_server", "server", "delete", "db2", "--yes"), cpv1.Job_STATE_SUCCEEDED)
	for _, task := range h.tasks() {
		h.do(task) // what nobody waits for: volumes to delete
	}
	if out := h.run("provider", "sweep"); !strings.Contains(out, "nothing") {
		t.Errorf("something was left behind:\n%s", out)
	}
	t.Logf("a person did: %s", strings.Join(h.did, ", "))
}

// snapshotByHand takes a snapshot while a person copies. The control plane dies in the midst of the
// first copy, so MariaDB resumes and the copy is worthless: no operator is asked again before a
// person says so.
func (h *hand) snapshotByHand() {
	h.t.Helper()
	var lost string
	h.instead["take_snapshot"] = func(task *cpv1.Task) {
		lost = task.GetId()
		h.Kill()
		h.start()
		h.waits("take_snapshot", "left: "+lost) // the quiesce outlives its control plane
		h.exec("db1", "systemctl", "kill", "--signal=KILL", "--kill-whom=main",
			"understudy-quiesce.service")
	}
	job := h.ask("take_snapshot", "snapshot", "create", "db1", "--mode", "offline",
		"--quiesce-limit", "4m")
	h.until(job, cpv1.Job_STATE_ACTION_REQUIRED)
	if tasks := h.tasks(); len(tasks) != 0 {
		h.t.Errorf("after a lost point an operator is asked: %v", tasks)
	}
	h.refuse([]string{"withdrawn", "delete what there is of it"}, "provider", "done", lost)
	h.exec("db1", "timeout", "120", "sh", "-c", // what ends the quiesce has begun to start it
		"until systemctl is-active --quiet mariadb.service; do sleep 0.2; done")
	if got := h.sql("db1", "SELECT COUNT(*) FROM shop.sale"); got != "2000" {
		h.t.Errorf("the primary has %s rows", got)
	}
	h.instead["take_snapshot"] = func(task *cpv1.Task) {
		h.waits("take_snapshot", "left: "+task.GetId(), "now, while its data holds still")
		h.do(task)
	}
	h.run("job", "retry", job, "--detach")
	h.until(job, cpv1.Job_STATE_SUCCEEDED)
}

// wrongVolume lets the next volume be made of another copy, be said to be attached before it is,
// and another one be attached in its place.
func (h *hand) wrongVolume(snapshot string) {
	h.instead["make_volume"] = func(task *cpv1.Task) {
		h.refuse([]string{"device", "missing"}, "provider", "done", task.GetId())
		h.refuse([]string{"two volumes never share one"}, "provider", "done", task.GetId(),
			"--device", h.device("db1"))
		h.run("provider", "done", task.GetId(), "--device",
			h.tool("volume", "create", "--from", snapshot).Device)
	}
	h.instead["attach_volume"] = func(task *cpv1.Task) {
		h.refuse([]string{"does not show", task.GetDevice()}, "provider", "done", task.GetId())
		h.waits("create_replica", "attaching", task.GetDevice())
		other := h.tool("volume", "create", "--bytes", "16777216").Device
		h.tool("volume", "attach", other, "db2")
		h.waits("create_replica", "attaching", "it shows "+other)
		h.tool("volume", "detach", other, "db2")
		h.tool("volume", "delete", other)
		h.do(task)
	}
}

// device is that of a server's data volume, by its mount.
func (h *hand) device(host string) string {
	h.t.Helper()
	what := h.exec(host, "grep", "-h", "^What=", "/etc/systemd/system/srv-mariadb.mount")
	return strings.TrimPrefix(what, "What=/dev/disk/by-id/")
}

// ready is the snapshot that can be used.
func (h *hand) ready() string {
	h.t.Helper()
	answer, err := cpv1.NewSnapshotServiceClient(h.conn).ListSnapshots(h.t.Context(),
		&cpv1.ListSnapshotsRequest{})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, s := range answer.GetSnapshots() {
		if s.GetState() == cpv1.Snapshot_STATE_READY {
			return s.GetName()
		}
	}
	h.t.Fatal("no snapshot is READY")
	return ""
}

// refused sees that an operator's no ends the job with their reason, and that a no cannot become a
// yes.
func (h *hand) refused(t *testing.T) {
	var id string
	h.instead["make_machine"] = func(task *cpv1.Task) {
		id = task.GetId()
		h.run("provider", "refuse", id, "--reason", "no room in rack 4")
	}
	job := h.until(h.ask("create_primary", "server", "create", "db3", "--image", "trixie"),
		cpv1.Job_STATE_FAILED)
	if e := stepOf(job, "create_machine").GetError(); !strings.Contains(e.GetMessage(),
		"no room in rack 4") || e.GetHint() == nil {
		t.Errorf("the job does not end with the person's reason: %v", e)
	}
	h.refuse([]string{"was refused: no room in rack 4"}, "provider", "done", id, "--address",
		"192.0.2.7")
	h.run("job", "cleanup", job.GetName())
}
