package fencing_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/understudy-db/understudy/agent/internal/fencing"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func open(t *testing.T, path string) *fencing.Epochs {
	t.Helper()
	epochs, err := fencing.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return epochs
}

func TestAnOldOwnerIsShutOutAlsoAfterARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "epochs.json")
	epochs := open(t, path)
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
			epochs = open(t, path)
		}
		err := epochs.Admit(step.job, step.epoch)
		if step.stale != errors.Is(err, errs.Aborted) || !step.stale && err != nil {
			t.Errorf("step %d: %v", i, err)
		}
	}
}

func TestWhatAKilledAgentLeftIsRemoved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "epochs.json")
	left := filepath.Join(filepath.Dir(path), ".epochs.json.1.tmp")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is there still: %v", err)
	}
}

func TestAnEpochThatCannotBeSavedIsNotAdmitted(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	epochs := open(t, filepath.Join(dir, "epochs.json"))
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := epochs.Admit("jobs/a", 1); !errors.Is(err, errs.Unavailable) {
			t.Error(err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := epochs.Admit("jobs/a", 1); err != nil {
		t.Error(err)
	}
}

func TestABrokenFileIsNoEmptyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "epochs.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fencing.Open(path); err == nil || errs.HintOf(err).String() == "" {
		t.Error(err)
	}
}

func TestManyJobsAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "epochs.json")
	epochs := open(t, path)
	var wait sync.WaitGroup
	for i := range 40 {
		wait.Go(func() {
			if err := epochs.Admit(fmt.Sprintf("jobs/%d", i%8), int64(i/8)+1); err != nil &&
				!errors.Is(err, errs.Aborted) {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	again := open(t, path)
	for i := range 8 {
		if err := again.Admit(fmt.Sprintf("jobs/%d", i), 4); !errors.Is(err, errs.Aborted) {
			t.Errorf("job %d: %v", i, err)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	epochs := open(t, filepath.Join(t.TempDir(), "epochs.json"))
	tests := []struct {
		name   string
		token  *agentv1.FencingToken
		reason errorsv1.Reason
	}{
		{"an operator", nil, 0},
		{"an operator with an empty token", &agentv1.FencingToken{}, 0},
		{"owner", &agentv1.FencingToken{Job: "jobs/a", Epoch: 2, EffectKey: "a/start/1"}, 0},
		{"owner again", &agentv1.FencingToken{Job: "jobs/a", Epoch: 2}, 0},
		{"old owner", &agentv1.FencingToken{Job: "jobs/a", Epoch: 1},
			errorsv1.Reason_REASON_STALE_EPOCH},
		{"no epoch", &agentv1.FencingToken{Job: "jobs/a"}, errorsv1.Reason_REASON_INVALID_FIELD},
		{"no job", &agentv1.FencingToken{Epoch: 1}, errorsv1.Reason_REASON_INVALID_FIELD},
		{"negative epoch", &agentv1.FencingToken{Job: "jobs/a", Epoch: -1},
			errorsv1.Reason_REASON_INVALID_FIELD},
		{"invalid job", &agentv1.FencingToken{Job: "jobs/../a", Epoch: 2},
			errorsv1.Reason_REASON_INVALID_FIELD},
		{"blank job", &agentv1.FencingToken{Job: " ", Epoch: 2},
			errorsv1.Reason_REASON_INVALID_FIELD},
		{"invalid key", &agentv1.FencingToken{Job: "jobs/a", Epoch: 2, EffectKey: "$(reboot)"},
			errorsv1.Reason_REASON_INVALID_FIELD},
		{"key alone", &agentv1.FencingToken{EffectKey: "k"},
			errorsv1.Reason_REASON_INVALID_FIELD},
	}
	for _, test := range tests {
		err := epochs.Check(as(t, identity.ControlPlane()), &agentv1.StartUnitRequest{
			Unit: "a.service", FencingToken: test.token})
		if (err == nil) != (test.reason == 0) || err != nil && errs.ReasonOf(err) != test.reason {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if err := epochs.Check(t.Context(), &agentv1.GetUnitRequest{}); err != nil {
		t.Errorf("a request that carries no token: %v", err)
	}
	// A person's number would shut the job's owner out.
	err := epochs.Check(as(t, identity.Operator("alice")), &agentv1.StartUnitRequest{
		Unit: "a.service", FencingToken: &agentv1.FencingToken{Job: "jobs/a", Epoch: 999999}})
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_NOT_ALLOWED {
		t.Errorf("an operator with a token: %v", err)
	}
}

// TestEveryChangingRequestCarriesAToken finds a request that a worker could send after it lost its
// job.
func TestEveryChangingRequestCarriesAToken(t *testing.T) {
	t.Parallel()
	seen := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("understudy.agent.v1",
		func(file protoreflect.FileDescriptor) bool {
			for i := range file.Services().Len() {
				methods := file.Services().Get(i).Methods()
				for j := range methods.Len() {
					seen++
					checkToken(t, methods.Get(j))
				}
			}
			return true
		})
	if seen == 0 {
		t.Error("no method was found")
	}
}

func checkToken(t *testing.T, method protoreflect.MethodDescriptor) {
	t.Helper()
	options := method.Options().(*descriptorpb.MethodOptions)
	if options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS {
		return
	}
	// No job makes these calls: the control plane makes them on its own behalf, and its generation
	// fences them.
	switch method.FullName() {
	case "understudy.agent.v1.HostService.SetControlPlane",
		"understudy.agent.v1.MariaDBService.ConfirmHistory",
		"understudy.agent.v1.HostService.SetDenyList", // its number only grows
		"understudy.agent.v1.HostService.SetGrants":   // the same
		return
	}
	request, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
	if err != nil {
		t.Fatal(err)
	}
	_, fenced := request.New().Interface().(interface {
		GetFencingToken() *agentv1.FencingToken
	})
	if !fenced {
		t.Errorf("%s has side effects and no fencing token", method.FullName())
	}
}
