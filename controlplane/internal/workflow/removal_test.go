package workflow_test

import (
	"slices"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// cancelled asks for a job that is cancelled before anything of it is done.
func (w *world) cancelled(what asked) job.Job {
	w.t.Helper()
	idle := w.start()
	j := idle.ask(what)
	j, err := idle.engine.Cancel(w.t.Context(), j.ID, job.ChangeRequest{Who: "tester"})
	if err != nil || j.State != job.Cancelled {
		w.t.Fatalf("%s %v", j.State, err)
	}
	return j
}

// alone runs one step of a job that is at rest.
func (p *process) alone(id, step string) job.Step {
	p.w.t.Helper()
	if _, err := p.engine.RetryStep(p.w.t.Context(), id, step, job.ChangeRequest{Who: "tester"}); err != nil {
		p.w.t.Fatal(err)
	}
	j := p.end(id)
	return j.Steps[slices.IndexFunc(j.Steps, func(s job.Step) bool { return s.Kind == step })]
}

// left is what there is of a server: its machine, its volumes, its account on the primary.
func (w *world) left(name string) (machines, volumes, accounts int) {
	primary := w.host("db1")
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.cloud.machines {
		if m.Tags[kit.TagServer] == name && m.State != provider.MachineTerminated {
			machines++
		}
	}
	for _, v := range w.cloud.volumes {
		if v.Tags[kit.TagServer] == name {
			volumes++
		}
	}
	return machines, volumes, len(primary.running.disk.data.accounts)
}

var removal = []string{"remove_account", "remove_machine", "remove_volumes", "forget"}

// TestEachStepOfARemovalAlone runs each step of a deletion that never began: it does what those
// before it had to do.
func TestEachStepOfARemovalAlone(t *testing.T) {
	t.Parallel()
	for _, step := range removal {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w, first := lab(t)
			first.must(replica{Server: "db2", Source: "db1"})
			first.stop()
			asked := w.cancelled(deletion{Server: "db2"})
			p := w.start().run()
			if s := p.alone(asked.ID, step); s.State != job.StepSucceeded {
				t.Fatalf("%s: %+v", s.State, s.Failure)
			}
			state := w.server("db2").State
			machines, volumes, accounts := w.left("db2")
			if gone := state == inventory.ServerDeleted; gone != (step == "forget") || !gone &&
				state != inventory.ServerDeleting {
				t.Errorf("db2 is %s", state)
			}
			if (step == "remove_account" || step == "forget") && accounts > 0 ||
				step != "remove_account" && machines > 0 ||
				(step == "remove_volumes" || step == "forget") && volumes > 0 {
				t.Errorf("%d machines, %d volumes, %d accounts are left", machines, volumes,
					accounts)
			}
			if _, err := p.engine.Retry(t.Context(), asked.ID, job.ChangeRequest{Who: "tester"}); err != nil {
				t.Fatal(err)
			}
			succeeded(t, p.end(asked.ID))
			if machines, volumes, accounts := w.left("db2"); machines+volumes+accounts > 0 {
				t.Errorf("%d machines, %d volumes, %d accounts are left", machines, volumes,
					accounts)
			}
		})
	}
}

// TestRemovalAloneLooksWhoDependsOnIt runs each step of the deletion of a primary that has a
// replica by now.
func TestRemovalAloneLooksWhoDependsOnIt(t *testing.T) {
	t.Parallel()
	w, first := lab(t)
	first.stop()
	asked := w.cancelled(deletion{Server: "db1"})
	p := w.start().run()
	p.must(replica{Server: "db2", Source: "db1"})
	for _, step := range removal {
		if s := p.alone(asked.ID, step); s.State != job.StepFailed || s.Failure.Reason != "IN_USE" {
			t.Errorf("%s is %s: %+v", step, s.State, s.Failure)
		}
	}
	if machines, _, _ := w.left("db1"); machines != 1 {
		t.Error("the primary's machine was taken away")
	}
	w.checkReplica(t, "db2")
}

// TestWhatIsGoneStaysGone runs each step of the jobs of a server that is gone, before and after
// there is another one of its name.
func TestWhatIsGoneStaysGone(t *testing.T) {
	t.Parallel()
	w, first := lab(t)
	made := first.must(replica{Server: "db2", Source: "db1"})
	first.stop()
	never := w.cancelled(deletion{Server: "db2"})
	p := w.start().run()
	deleted := p.must(deletion{Server: "db2"})
	p.changeNothing(t, never, deleted, made)
	if srv := w.server("db2"); srv.State != inventory.ServerDeleted {
		t.Errorf("db2 is %s again", srv.State)
	}
	p.must(replica{Server: "db2", Source: "db1",
		Options: map[string]string{"max_connections": "77"}})
	p.changeNothing(t, never, deleted, made)
	w.checkReplica(t, "db2")
}

// TestAServerThatIsGoneIsMadeAnew does what the refusal names as the hint.
func TestAServerThatIsGoneIsMadeAnew(t *testing.T) {
	t.Parallel()
	w, p := lab(t)
	made := p.must(replica{Server: "db2", Source: "db1"})
	p.must(deletion{Server: "db2"})
	if _, err := p.engine.Redo(t.Context(), made.ID, "plan",
		job.ChangeRequest{Who: "tester", Reason: "it was missed"}); err != nil {
		t.Fatal(err)
	}
	succeeded(t, p.end(made.ID))
	w.checkReplica(t, "db2")
}

// changeNothing runs each step of the jobs alone, those apart that are about the source.
func (p *process) changeNothing(t *testing.T, jobs ...job.Job) {
	t.Helper()
	for _, j := range jobs {
		for _, s := range j.Steps {
			if s.Section != "" || s.Always {
				continue
			}
			mark := p.w.mark()
			if _, err := p.engine.RetryStep(t.Context(), j.ID, s.Kind,
				job.ChangeRequest{Who: "tester"}); err != nil {
				t.Fatal(err)
			}
			last := p.end(j.ID)
			if changes := p.w.changes(mark); len(changes) > 0 {
				t.Errorf("%s of %s, alone, changed %v", s.Kind, j.Kind, changes)
			}
			t.Logf("%s of %s: %s", s.Kind, j.Kind, last.Reason)
		}
	}
}

// TestWhatAPersonSkippedIsLeftOut deletes a replica whose account cannot be dropped.
func TestWhatAPersonSkippedIsLeftOut(t *testing.T) {
	t.Parallel()
	w, p := lab(t)
	p.must(replica{Server: "db2", Source: "db1"})
	p.stop()
	asked := w.cancelled(deletion{Server: "db2"})
	p = w.start()
	for _, ask := range []func() (job.Job, error){
		func() (job.Job, error) {
			return p.engine.Skip(t.Context(), asked.ID, "remove_account",
				job.ChangeRequest{Who: "tester", Reason: "kept for another"})
		},
		func() (job.Job, error) {
			return p.engine.Retry(t.Context(), asked.ID,
				job.ChangeRequest{Who: "tester"})
		},
	} {
		if _, err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	p.run()
	succeeded(t, p.end(asked.ID))
	if machines, volumes, accounts := w.left("db2"); machines+volumes > 0 || accounts != 1 {
		t.Errorf("%d machines, %d volumes, %d accounts are left", machines, volumes, accounts)
	}
}

// TestRemovingASnapshotAlone runs the last step of a deletion that never began.
func TestRemovingASnapshotAlone(t *testing.T) {
	t.Parallel()
	w, first := lab(t)
	taken := first.must(snapshotOf{Source: "db1"})
	first.stop()
	args := snapshotIn(t, taken)
	asked := w.cancelled(snapshotDeletion{Snapshot: args})
	using := w.start().ask(replica{Server: "db2", Snapshot: args})
	p := w.start()
	p.at(job.BeforeEffect, "plan", func() {})
	if _, err := p.engine.RetryStep(t.Context(), asked.ID, "remove_snapshot",
		job.ChangeRequest{Who: "tester"}); err != nil {
		t.Fatal(err)
	}
	p.run()
	if s := p.end(asked.ID).Steps[2]; s.State != job.StepFailed || s.Failure.Reason != "IN_USE" {
		t.Errorf("%s is %s: %+v", s.Kind, s.State, s.Failure)
	}
	succeeded(t, p.end(using.ID))
	if s := p.alone(asked.ID, "remove_snapshot"); s.State != job.StepSucceeded {
		t.Fatalf("%s: %+v", s.State, s.Failure)
	}
	if h := w.host("db1"); len(h.running.disk.data.reserved) > 0 ||
		w.snapshot(args).State != inventory.SnapshotDeleted {
		t.Errorf("binary logs are kept for %v, the snapshot is %s", h.running.disk.data.reserved,
			w.snapshot(args).State)
	}
}
