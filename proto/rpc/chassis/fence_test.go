package chassis_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func openFences(t *testing.T, path string) *chassis.Fences {
	t.Helper()
	fences, err := chassis.OpenFences(path)
	if err != nil {
		t.Fatal(err)
	}
	return fences
}

func TestAnOldOwnerIsShutOutAlsoAfterARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "epochs.json")
	fences := openFences(t, path)
	steps := []struct {
		job     string
		epoch   int64
		restart bool
		stale   bool
	}{
		{job: "jobs/a", epoch: 1}, {job: "jobs/a", epoch: 1}, {job: "jobs/a", epoch: 3},
		{job: "jobs/a", epoch: 2, stale: true},
		{job: "jobs/b", epoch: 1}, {job: "jobs/a", epoch: 2, restart: true, stale: true},
		{job: "jobs/a", epoch: 3, restart: true},
		{job: "jobs/a", epoch: 4}, {job: "jobs/a", epoch: 3, stale: true},
	}
	for i, step := range steps {
		if step.restart {
			fences = openFences(t, path)
		}
		err := fences.Admit(step.job, step.epoch)
		if step.stale != errors.Is(err, errs.Aborted) || !step.stale && err != nil {
			t.Errorf("step %d: %v", i, err)
		}
	}
}

func TestAFenceThatCannotBeRememberedAdmitsNobody(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	fences := openFences(t, filepath.Join(dir, "epochs.json"))
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := fences.Admit("jobs/a", 1); !errors.Is(err, errs.Unavailable) {
			t.Error(err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := fences.Admit("jobs/a", 1); err != nil {
		t.Error(err)
	}
}

func TestABrokenFileIsNoEmptyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "epochs.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := chassis.OpenFences(path); err == nil || errs.HintOf(err).String() == "" {
		t.Error(err)
	}
}

func TestManyJobsAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "epochs.json")
	fences := openFences(t, path)
	var wait sync.WaitGroup
	for i := range 40 {
		wait.Go(func() {
			if err := fences.Admit(fmt.Sprintf("jobs/%d", i%8), int64(i/8)+1); err != nil &&
				!errors.Is(err, errs.Aborted) {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	again := openFences(t, path)
	for i := range 8 {
		if err := again.Admit(fmt.Sprintf("jobs/%d", i), 4); !errors.Is(err, errs.Aborted) {
			t.Errorf("job %d: %v", i, err)
		}
	}
}

func TestFencedCalls(t *testing.T) {
	t.Parallel()
	fences := openFences(t, filepath.Join(t.TempDir(), "epochs.json"))
	w := serve(t, &units{start: ok[*agentv1.StartUnitRequest]},
		func(c *chassis.Config) { c.Fences = fences })
	client := w.client(identity.ControlPlane())
	tests := []struct {
		name   string
		fence  *agentv1.Fence
		reason errorsv1.Reason
	}{
		{"a person", nil, 0},
		{"a person with an empty fence", &agentv1.Fence{}, 0},
		{"owner", &agentv1.Fence{Job: "jobs/a", Epoch: 2, EffectKey: "a/start/1"}, 0},
		{"owner again", &agentv1.Fence{Job: "jobs/a", Epoch: 2}, 0},
		{"old owner", &agentv1.Fence{Job: "jobs/a", Epoch: 1}, errorsv1.Reason_REASON_STALE_EPOCH},
		{"no epoch", &agentv1.Fence{Job: "jobs/a"}, errorsv1.Reason_REASON_INVALID_FIELD},
		{"no job", &agentv1.Fence{Epoch: 1}, errorsv1.Reason_REASON_INVALID_FIELD},
		{"negative", &agentv1.Fence{Job: "jobs/a", Epoch: -1},
			errorsv1.Reason_REASON_INVALID_FIELD},
		{"job that is no name", &agentv1.Fence{Job: "jobs/../a", Epoch: 2},
			errorsv1.Reason_REASON_INVALID_FIELD},
		{"blank job", &agentv1.Fence{Job: " ", Epoch: 2}, errorsv1.Reason_REASON_INVALID_FIELD},
		{"key that is none", &agentv1.Fence{Job: "jobs/a", Epoch: 2, EffectKey: "$(reboot)"},
			errorsv1.Reason_REASON_INVALID_FIELD},
		{"key alone", &agentv1.Fence{EffectKey: "k"}, errorsv1.Reason_REASON_INVALID_FIELD},
	}
	for _, test := range tests {
		_, err := client.StartUnit(patience(t), &agentv1.StartUnitRequest{Unit: "a.service",
			Fence: test.fence})
		if (err == nil) != (test.reason == 0) || err != nil && errs.ReasonOf(err) != test.reason {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if line := w.calls()[2]; line["job"] != "jobs/a" || line["step"] != "a/start/1" {
		t.Errorf("%v", line)
	}
}
