package workflow_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
)

// A machine that the provider itself ended, or stopped, is nobody's doing, and its reason is shown.
func TestMachineThatTheProviderEnds(t *testing.T) {
	for name, test := range map[string]struct {
		state  provider.MachineState
		failed bool
		reason string
		says   string
	}{
		"by itself": {provider.MachineTerminated, true, "MACHINE_GONE",
			"the provider itself ended"},
		"by somebody": {provider.MachineTerminated, false, "MACHINE_GONE",
			"by somebody else"},
		"without an address": {provider.MachineRunning, false, "PROVIDER_ERROR",
			"runs without an address"},
		"stopped by itself": {provider.MachineStopped, true,
			"PROVIDER_ERROR", "the provider itself stopped"},
	} {
		bubbles(t, name, func(t *testing.T) {
			w := workflowtest.NewWorld(t)
			p := w.Start().Run()
			p.Behind["CreateMachine"] = func() {
				w.Mu.Lock()
				defer w.Mu.Unlock()
				for _, m := range w.Cloud.Machines {
					m.State, m.Failed, m.Reason = test.state, test.failed, "the key is disabled"
					if m.State == provider.MachineRunning {
						m.Address = ""
					}
				}
			}
			ended := p.End(p.Ask(primary{Server: "db1"}).ID)
			step, _ := ended.Step("create_machine")
			if f := step.Failure; f == nil || f.Reason != test.reason ||
				!strings.Contains(f.Message, test.says) ||
				!strings.Contains(f.Message, "the key is disabled") {
				t.Errorf("the step says %+v", f)
			}
		})
	}
}
