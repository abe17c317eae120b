package show_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charm.land/lipgloss/v2"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

var update = flag.Bool("update", false, "write the golden files")

var begun = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// job is one with a step in each state that can be beside the others.
func job(state cpv1.Job_State, now *cpv1.Step) *cpv1.Job {
	done := func(name string, took time.Duration) *cpv1.Step {
		return &cpv1.Step{Name: name, Title: "it is so that " + name + " holds",
			State: cpv1.Step_STATE_SUCCEEDED, Attempts: 1, StartTime: timestamppb.New(begun),
			Duration: durationpb.New(took), Found: []string{"found by " + name},
			Changed: []string{"changed by " + name}}
	}
	j := &cpv1.Job{Name: "jobs/j-1", Kind: cpv1.Job_KIND_CREATE_REPLICA,
		Title: "replica db2 of db1, verified full", State: state, StartTime: timestamppb.New(begun),
		Steps: []*cpv1.Step{done("plan", 180*time.Millisecond),
			done("create_machine", 3*time.Second),
			{Name: "upgrade_mariadb", State: cpv1.Step_STATE_SKIPPED,
				WaitReason: "datadir and binary are both 11.8"}, now,
			{Name: "verify", Title: "the data is equal", State: cpv1.Step_STATE_PENDING},
			{Name: "finish", Title: "it starts by itself", State: cpv1.Step_STATE_PENDING}}}
	now.Name, now.Title, now.StartTime, now.Duration = "catch_up",
		"the replica has applied what the primary has", timestamppb.New(begun),
		durationpb.New(5*time.Second)
	return j
}

func jobs() map[string]*cpv1.Job {
	oops := &cpv1.JobError{Message: "the SQL thread stopped: error 1062: Duplicate entry '7' for " +
		"key 'PRIMARY' at 0-101-471147114711471147114711",
		Reason: "REPLICATION_ERROR",
		Hint:   &errorsv1.Hint{Text: "make the row equal on both sides, then retry"}}
	half := &cpv1.StepProgress{Done: 1 << 30, Total: 2 << 30, Unit: "bytes", Text: "lag 4.2s",
		Remaining: durationpb.New(12 * time.Second)}
	open := &cpv1.StepProgress{Done: 4711, Unit: "transactions"}
	return map[string]*cpv1.Job{
		"running": job(cpv1.Job_STATE_RUNNING, &cpv1.Step{State: cpv1.Step_STATE_RUNNING,
			Attempts: 1, Progress: half,
			Found: []string{"the fence is 0-101-9511"}, Changed: []string{"started replication"}}),
		"no-end": job(cpv1.Job_STATE_RUNNING, &cpv1.Step{State: cpv1.Step_STATE_RUNNING,
			Attempts: 1, Progress: open}),
		"waiting": job(cpv1.Job_STATE_WAITING, &cpv1.Step{State: cpv1.Step_STATE_WAITING,
			Attempts: 3, WaitReason: "next attempt in 4s", Error: oops}),
		"failed": job(cpv1.Job_STATE_FAILED, &cpv1.Step{State: cpv1.Step_STATE_FAILED, Attempts: 5,
			Error: oops, Progress: half}),
		"person": job(cpv1.Job_STATE_ACTION_REQUIRED, &cpv1.Step{
			State:    cpv1.Step_STATE_ACTION_REQUIRED,
			Attempts: 1, Error: oops}),
		"stopped": stopped(),
		"queued": {Name: "jobs/j-1", Kind: cpv1.Job_KIND_CREATE_REPLICA,
			State: cpv1.Job_STATE_QUEUED},
		"hostile": {Name: "jobs/\x1b]0;x\a", Title: "a\x1b[2Jb",
			State: cpv1.Job_STATE_FAILED,
			Steps: []*cpv1.Step{{Name: "s\x1b[1m", State: cpv1.Step_STATE_FAILED,
				Error: &cpv1.JobError{Message: "m\x1b[5m\nm"}}}},
	}
}

// stopped was cancelled in the middle; its last step ran all the same, and tells what is left.
func stopped() *cpv1.Job {
	j := job(cpv1.Job_STATE_CANCELLED, &cpv1.Step{State: cpv1.Step_STATE_CANCELLED, Attempts: 1,
		WaitReason: "cancelled"})
	verify, finish := j.GetSteps()[4], j.GetSteps()[5]
	verify.State, verify.WaitReason = cpv1.Step_STATE_CANCELLED, "cancelled"
	finish.State, finish.Attempts, finish.StartTime = cpv1.Step_STATE_SUCCEEDED, 1,
		timestamppb.New(begun)
	finish.Duration, finish.Found = durationpb.New(4*time.Millisecond),
		[]string{"machine i-4 of this job is left: clean the job up to remove it"}
	return j
}

func TestJobOnTerminals(t *testing.T) {
	t.Parallel()
	for name, j := range jobs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain := show.Plain(show.Unicode())
			golden(t, name, sections(
				"wide", show.Job(j, show.Screen{Style: plain, Width: 100, Height: 40, Frame: 3,
					Since: 700 * time.Millisecond}),
				"narrow", show.Job(j, show.Screen{Style: plain, Width: 50, Height: 40}),
				"low", show.Job(j, show.Screen{Style: plain, Width: 80, Height: 7}),
				"all, no terminal", show.Job(j, show.Screen{Style: plain, All: true}),
				"ascii", show.Job(j, show.Screen{Style: show.Plain(show.ASCII()), Width: 100,
					Height: 40}),
				"colour", strings.ReplaceAll(show.Job(j,
					show.Screen{Style: show.Colour(show.Unicode()), Width: 100, Height: 40}),
					"\x1b", "^"),
			))
		})
	}
}

func sections(texts ...string) string {
	var b strings.Builder
	for i := 0; i < len(texts); i += 2 {
		fmt.Fprintf(&b, "== %s\n%s", texts[i], texts[i+1])
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not as it was (-update writes it):\n%s", path, got)
	}
}

// A view that is higher or wider than the terminal would be torn apart when it is redrawn.
func TestJobFitsAnyTerminal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		screen := show.Screen{Style: show.Colour(show.Unicode()),
			Width:  rapid.IntRange(44, 200).Draw(t, "width"),
			Height: rapid.IntRange(12, 60).Draw(t, "height"),
			Frame:  rapid.IntRange(0, 99).Draw(t, "frame")}
		text := show.Job(randomJob(t), screen)
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) > screen.Height {
			t.Fatalf("%d lines on %d:\n%s", len(lines), screen.Height, text)
		}
		for _, line := range lines {
			if lipgloss.Width(line) > screen.Width {
				t.Fatalf("%d columns on %d: %s", lipgloss.Width(line), screen.Width, line)
			}
		}
	})
}

// randomJob is at one of its steps: those before are done, those behind are to come.
func randomJob(t *rapid.T) *cpv1.Job {
	text := rapid.StringMatching(`[a-z ]{0,150}`)
	lines := rapid.SliceOfN(text, 0, 12)
	at := rapid.IntRange(0, 20).Draw(t, "at")
	j := &cpv1.Job{Name: "jobs/j-1", Title: text.Draw(t, "title"), State: cpv1.Job_STATE_RUNNING,
		StartTime: timestamppb.New(begun)}
	for i := range 21 {
		step := &cpv1.Step{Name: fmt.Sprintf("step_number_%d", i), Title: text.Draw(t, "step"),
			State: cpv1.Step_STATE_PENDING}
		switch {
		case i < at:
			step.State, step.Duration = cpv1.Step_STATE_SUCCEEDED, durationpb.New(time.Second)
		case i == at:
			step.State = rapid.SampledFrom([]cpv1.Step_State{cpv1.Step_STATE_RUNNING,
				cpv1.Step_STATE_WAITING, cpv1.Step_STATE_FAILED}).Draw(t, "state")
			step.Found, step.Changed = lines.Draw(t, "found"), lines.Draw(t, "changed")
			step.WaitReason, step.Error = text.Draw(t, "wait"),
				&cpv1.JobError{Message: text.Draw(t, "error"),
					Hint: &errorsv1.Hint{Text: text.Draw(t, "out")}}
			step.Progress = &cpv1.StepProgress{Done: 5, Total: 9, Text: text.Draw(t, "progress")}
		}
		j.Steps = append(j.Steps, step)
	}
	return j
}

func TestTransitionsTellEachChangeOnce(t *testing.T) {
	t.Parallel()
	before := jobs()["running"]
	if lines := show.Transitions(before, before); len(lines) > 0 {
		t.Errorf("nothing changed, but: %q", lines)
	}
	after := jobs()["failed"]
	want := []string{"catch_up: failed (attempt 5)",
		"catch_up: error: the SQL thread stopped: error 1062: Duplicate entry '7' for key " +
			"'PRIMARY' at 0-101-471147114711471147114711 (REPLICATION_ERROR)",
		"catch_up: hint: make the row equal on both sides, then retry"}
	if got := show.Transitions(before, after); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	want = []string{"catch_up: cancelled",
		"finish: found: machine i-4 of this job is left: clean the job up to remove it",
		"finish: done in 4ms"}
	if got := show.Transitions(before, stopped()); strings.Join(got, "\n") != strings.Join(want,
		"\n") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	if got := show.ProgressLines(before); len(got) != 1 ||
		got[0] != "catch_up: 50%, 1GiB of 2GiB, lag 4.2s, about 12s left" {
		t.Errorf("%q", got)
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	plan := &cpv1.Job{Title: "replica db2 of db1", Steps: []*cpv1.Step{
		{Name: "plan", Title: "all allows it", Found: []string{"db1 is READY"},
			Changed: []string{"allot server_id 7"}},
		{Name: "create_machine", Title: "a machine exists",
			Changed: []string{"make a machine", "tag it"}}}}
	refused := &cpv1.Job{Title: "replica db2 of db1", Error: &cpv1.JobError{Message: "db1 is gone"},
		Steps: plan.GetSteps()[:1]}
	style := show.Screen{Style: show.Plain(show.Unicode())}
	golden(t, "plan", sections("good", show.Plan(plan, style), "refused",
		show.Plan(refused, style)))
}

func TestTable(t *testing.T) {
	t.Parallel()
	rows := [][]string{{"db1", "", "✓ läuft"}, {"a-long-name", "x", ""}}
	style := show.Plain(show.Unicode())
	golden(t, "table", sections("whole", show.Table(style, []string{"NAME", "B", "C"}, rows, 0),
		"cut", show.Table(style, []string{"NAME", "B", "C"}, rows, 12),
		"fields", show.Fields(style, []show.Field{{Name: "a", Values: []string{"1", "", "2"}},
			{Name: "none", Values: []string{""}}, {Name: "long name", Values: []string{"3"}}})))
}
