//go:build lab

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// TestLongUpgrade upgrades and downgrades both programs by their packages while jobs run, so that
// each version of the control plane meets agents of the other. The jobs go on to their end.
func TestLongUpgrade(t *testing.T) {
	t.Parallel()
	newer := buildPackages(t, "../..", "0.1.1")
	for _, older := range olderPackages(t) {
		t.Run("from "+older.version, func(t *testing.T) {
			u := &upgrade{site: newSite(t, "upgrade"), blocks: readPage(t),
				disks: map[string]string{}}
			u.older, u.newer = u.bring(t, older), u.bring(t, newer)
			u.story(t)
		})
	}
}

// built is a folder with packages of a version.
type built struct{ dir, version string }

func buildPackages(t *testing.T, tree, version string) built {
	t.Helper()
	return buildPackagesAs(t, "deb", tree, version)
}

func buildPackagesAs(t *testing.T, format, tree, version string) built {
	t.Helper()
	b := built{dir: t.TempDir(), version: version}
	cmd := exec.CommandContext(t.Context(), "deploy/packages/build")
	cmd.Dir = tree
	cmd.Env = append(os.Environ(), "VERSION="+version, "ARCHS=amd64", "FORMATS="+format,
		"OUT="+b.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build packages of %s: %v: %s", version, err, out)
	}
	return b
}

// olderPackages are built from the newest tag of each of the two minor versions before this tree's:
// the versions that have to work with it. While there is no tag, they are this tree under another
// version.
func olderPackages(t *testing.T) []built {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "tag", "--sort=-version:refname",
		"--merged", "HEAD", "v*").Output()
	if err != nil {
		t.Fatal(err)
	}
	tags := slices.CompactFunc(strings.Fields(string(out)),
		func(a, b string) bool { return minor(a) == minor(b) })
	if len(tags) == 0 {
		t.Log("NO VERSION HAS A TAG YET: this tree is tested against itself under another version")
		return []built{buildPackages(t, "../..", "0.1.0")}
	}
	var older []built
	for _, tag := range tags[:min(len(tags), 3)] {
		tree := filepath.Join(t.TempDir(), tag)
		add := exec.CommandContext(t.Context(), "git", "worktree", "add", "--detach", tree, tag)
		if out, err := add.CombinedOutput(); err != nil {
			t.Fatalf("cannot check out %s: %v: %s", tag, err, out)
		}
		t.Cleanup(func() { _ = exec.Command("git", "worktree", "remove", "--force", tree).Run() })
		older = append(older, buildPackages(t, tree, strings.TrimPrefix(tag, "v")))
	}
	return older
}

// minor is v0.1 of v0.1.2.
func minor(tag string) string { return tag[:strings.LastIndex(tag, ".")] }

// upgrade is a site whose programs change while jobs run.
type upgrade struct {
	*site
	blocks       []part
	older, newer string
	disks        map[string]string // by host: the device of its volume
	snapshot     string            // what the storage calls it
	// before is what is done once when a task of a kind is open, and before it is done
	before map[string]func()
	// during is what is done once when a step has begun
	during map[string]func()
}

// bring puts packages onto all hosts and returns their version.
func (u *upgrade) bring(t *testing.T, packages built) string {
	t.Helper()
	for host := range pageAddresses {
		for _, program := range []string{"understudy", "understudy-agent"} {
			found, err := filepath.Glob(filepath.Join(packages.dir, program+"_*.deb"))
			if err != nil || len(found) != 1 {
				t.Fatalf("want one package of %s: %v, %v", program, found, err)
			}
			file, err := os.Open(found[0])
			if err != nil {
				t.Fatal(err)
			}
			dir := "/opt/" + packages.version
			cmd := u.command(t.Context(), host, "mkdir -p "+dir+"; cat >"+dir+"/"+
				filepath.Base(found[0]))
			cmd.Stdin = file
			out, err := cmd.CombinedOutput()
			file.Close()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
	return packages.version
}

// programOf is what a host's package is called.
func programOf(host string) string {
	if host == "cp" {
		return "understudy"
	}
	return "understudy-agent"
}

// block is the page's for a host and a purpose.
func (u *upgrade) block(t *testing.T, host, how string) string {
	t.Helper()
	for _, b := range u.blocks {
		if b.how == how && slices.Contains(b.hosts, host) {
			return b.text
		}
	}
	t.Fatalf("the page has no block for %s %s", host, how)
	return ""
}

// install installs a version as the page says, and sees that it is there.
func (u *upgrade) install(t *testing.T, host, version string) {
	t.Helper()
	program := programOf(host)
	u.on(t, host, "rm -f *.deb; cp /opt/"+version+"/"+program+"_*.deb .\n"+
		u.block(t, host, "to upgrade"))
	if got := u.on(t, host, program+" --version"); !strings.Contains(got, version) {
		t.Errorf("%s on %s is %s, want %s", program, host, got, version)
	}
}

// swap is install while a job runs.
func (u *upgrade) swap(t *testing.T, host, version string) func() {
	return func() {
		u.install(t, host, version)
		t.Logf("%s on %s is %s now", programOf(host), host, version)
		u.runsInstalled(t, host)
	}
}

// runsInstalled waits until the process of the unit is the program that is installed.
func (u *upgrade) runsInstalled(t *testing.T, host string) {
	t.Helper()
	program := programOf(host)
	awaitTrue(t, time.Minute, program+" runs on "+host+" as it is installed", func() bool {
		out, err := u.try(host, "readlink /proc/$(systemctl show -P MainPID "+program+")/exe")
		return err == nil && strings.TrimSpace(out) == "/usr/bin/"+program
	})
}

// ask starts a job and does its tasks until it has succeeded; everything that was to be done
// meanwhile must have been.
func (u *upgrade) ask(t *testing.T, command string) {
	t.Helper()
	id := strings.Fields(u.on(t, "cp", command+" --detach"))[0]
	end := time.Now().Add(4 * time.Minute)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		answer := &cpv1.GetJobResponse{}
		out, err := u.command(t.Context(), "cp", "understudy job get "+id+" -o json").Output()
		if err == nil {
			err = protojson.Unmarshal(out, answer)
		}
		job := answer.GetJob()
		switch job.GetState() {
		case cpv1.Job_STATE_SUCCEEDED:
			for name := range u.before {
				t.Errorf("%s: no task %s came", command, name)
			}
			for name := range u.during {
				t.Errorf("%s: step %s was not seen before the end", command, name)
			}
			return
		case cpv1.Job_STATE_FAILED, cpv1.Job_STATE_CANCELLED, cpv1.Job_STATE_ACTION_REQUIRED:
			t.Fatalf("%s: %s", command, protojson.Format(job))
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not end: %v: %s", command, err, out)
		}
		u.progress(t, job)
	}
}

// progress does what is to be done at the job's steps, and its tasks.
func (u *upgrade) progress(t *testing.T, job *cpv1.Job) {
	t.Helper()
	for _, step := range job.GetSteps() {
		if step.GetState() != cpv1.Step_STATE_PENDING {
			once(u.during, step.GetName())
		}
	}
	out, err := u.command(t.Context(), "cp", "understudy provider tasks -o json").Output()
	answer := &cpv1.ListTasksResponse{}
	if err != nil || protojson.Unmarshal(out, answer) != nil {
		return // the control plane is being restarted
	}
	for _, task := range answer.GetTasks() {
		once(u.before, enum.Word(task.GetKind()))
		u.do(t, task)
	}
}

func once(at map[string]func(), name string) {
	if act := at[name]; act != nil {
		delete(at, name)
		act()
	}
}

// do does a task.
func (u *upgrade) do(t *testing.T, task *cpv1.Task) {
	t.Helper()
	host, report := task.GetMachineName(), ""
	switch enum.Word(task.GetKind()) {
	case "make_machine":
		u.on(t, workstation, "ssh root@"+u.addresses[pageAddresses["cp"]]+
			" understudy token create "+host+" --out - | ssh root@"+
			u.addresses[pageAddresses[host]]+
			" 'install -m 600 /dev/stdin /etc/understudy-agent/join.json'")
		u.on(t, host, "systemctl enable --now understudy-agent")
		report = "--address " + u.addresses[pageAddresses[host]]
	case "make_volume":
		args := []string{"volume", "create", "--bytes", "1073741824"}
		if task.GetSnapshot() != "" {
			args = []string{"volume", "create", "--from", u.snapshot}
		}
		report = "--device " + u.tool(t, args...).Device
	case "attach_volume":
		if u.disks[host] == "" {
			u.disks[host] = task.GetDevice()
			u.tool(t, "volume", "attach", task.GetDevice(), host)
		}
		return // the host shows it
	case "take_snapshot":
		u.snapshot = u.tool(t, "snapshot", "create", task.GetDevice()).Snapshot
		report = "--label copy"
	default:
		t.Fatalf("nobody told me how: %s", task.GetInstruction())
	}
	u.on(t, "cp", "understudy provider done "+task.GetId()+" "+report)
}
