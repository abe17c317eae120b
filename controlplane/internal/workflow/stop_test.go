package workflow_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/machine"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

var (
	stopping = workflowtest.Stop{Server: "db2"}
	starting = workflowtest.Start{Server: "db2"}
)

// checkStopped expects the machine to be off, with MariaDB ended before it, and the record to say
// that it was meant to be.
func checkStopped(t *testing.T, w *world, server string) {
	t.Helper()
	srv, h := w.Server(server), w.Host(server)
	w.Mu.Lock()
	defer w.Mu.Unlock()
	if srv.State != inventory.ServerStopped || h.Running != nil || h.Cuts != 0 ||
		w.Cloud.Machines[srv.MachineID].State != provider.MachineStopped {
		t.Errorf("%s is %s (%s); its machine is %s, and %d times MariaDB was cut off", server,
			srv.State, srv.StateReason, w.Cloud.Machines[srv.MachineID].State, h.Cuts)
	}
}

func TestAServerIsStoppedAndStarted(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"db1", "db2"} {
		bubbles(t, server, func(t *testing.T) {
			w, p, _ := withReplica(t)
			mark := w.Mark()
			stop := workflowtest.Stop{Server: server, AllowPrimary: server == "db1"}
			stopped := p.Must(stop)
			checkStopped(t, w, server)
			if changes := w.Changes(mark); !slices.Equal(changes,
				[]string{server + ":StopUnit", "cloud:StopMachine"}) {
				t.Errorf("a stop changed %v", changes)
			}
			mark = w.Mark()
			p.Must(stop)
			for _, s := range stopped.Steps {
				if _, err := p.Engine.RetryStep(t.Context(), stopped.ID, s.Kind,
					asTester); err != nil {
					t.Fatal(err)
				}
				succeeded(t, p.End(stopped.ID))
			}
			checkStopped(t, w, server)
			if changes := w.Changes(mark); len(changes) > 0 {
				t.Errorf("stopped again, and each step alone, it changed %v", changes)
			}
			p.Must(workflowtest.Start{Server: server})
			checkBoots(t, w, server, 1)
			if changes := w.Changes(mark); !slices.Equal(changes, []string{"cloud:StartMachine"}) {
				t.Errorf("a start changed %v", changes)
			}
			p.Must(workflowtest.Start{Server: server})
			if changes := w.Changes(mark); len(changes) != 1 {
				t.Errorf("started again it changed %v", changes)
			}
			if server == "db2" {
				checkReplicates(t, w)
			}
		})
	}
}

// TestAStopAndAStartThatAreKilledAnywhereGoOn kills the control plane at each call of each step.
func TestAStopAndAStartThatAreKilledAnywhereGoOn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what  string
		ask   workflowtest.Asked
		steps []string
	}{
		{"stop", stopping, stepsOf(machine.StopServer())},
		{"start", starting, stepsOf(machine.StartServer())},
	} {
		for _, step := range c.steps {
			for _, point := range []job.Point{job.BeforeEffect, job.AfterEffect, job.AfterCommit} {
				bubbles(t, fmt.Sprint(c.what, "/", step, "/", point), func(t *testing.T) {
					w, first, _ := withReplica(t)
					if c.what == "start" {
						first.Must(stopping)
					}
					first.Stop()
					p := w.Start()
					killed := p.KillAt(point, step)
					p.Run()
					j := p.Ask(c.ask)
					<-killed
					next := w.Start().Run()
					succeeded(t, next.End(j.ID))
					if c.what == "stop" {
						checkStopped(t, w, "db2")
						next.Must(starting)
					}
					checkBoots(t, w, "db2", 1)
					checkReplicates(t, w)
				})
			}
		}
	}
}

// TestACancelledStopServesOrIsOff: before the machine was asked to go off MariaDB is started again.
func TestACancelledStopServesOrIsOff(t *testing.T) {
	t.Parallel()
	for _, step := range stepsOf(machine.StopServer()) {
		bubbles(t, step, func(t *testing.T) {
			w, p, _ := again(t)
			reached, goOn, once := make(chan struct{}), make(chan struct{}), false
			p.OnPoint(func(at job.Point, in string) {
				if at == job.BeforeEffect && in == step && !once {
					once = true
					close(reached)
					<-goOn
				}
			})
			p.Run()
			j := p.Ask(stopping)
			<-reached
			if _, err := p.Engine.Cancel(t.Context(), j.ID, asTester); err != nil {
				t.Fatal(err)
			}
			close(goOn)
			p.End(j.ID)
			switch srv := w.Server("db2"); srv.State {
			case inventory.ServerStopped:
				checkStopped(t, w, "db2")
			case inventory.ServerReady, inventory.ServerUnreachable:
				h := w.Host("db2")
				w.Mu.Lock()
				defer w.Mu.Unlock()
				if h.Running == nil {
					t.Errorf("cancelled in %s the machine is on, and MariaDB is not", step)
				}
			default:
				t.Errorf("cancelled in %s the server is %s", step, srv.State)
			}
		})
	}
}

func TestWhatIsStoppedIsSaidToBe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := withReplica(t)
		if err := (workflowtest.Stop{Server: "db1"}).Args().Check(t.Context(),
			p.Flow); err == nil || !strings.Contains(err.Error(), "it is a primary") {
			t.Errorf("a primary: %v", err)
		}
		p.Must(workflowtest.Stop{Server: "db1", AllowPrimary: true})
		p.Must(stopping)
		for _, ask := range []workflowtest.Asked{starting, verification{Replica: "db2"},
			workflowtest.Growth{Server: "db1", Bytes: larger}} {
			args, err := ask.Args().Resolve(t.Context(), p.Flow, "")
			if err == nil {
				err = args.Check(t.Context(), p.Flow)
			}
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), "stopped") {
				t.Errorf("%T: %v", ask, err)
				continue
			}
			if helps := errs.HintOf(err).Actions; len(helps) != 1 ||
				helps[0].Method != "StartServer" {
				t.Errorf("%T is not told to start it: %v", ask, helps)
			}
		}
		j := p.End(p.Ask(snapshotOf{Source: "db1"}).ID) // it does not wait for an agent
		if s := j.Steps[0]; j.State != job.Failed || s.Failure == nil ||
			!strings.Contains(s.Failure.Message, "db1 is STOPPED") {
			t.Errorf("a snapshot: %s", states(j))
		}
		w.Mu.Lock()
		h := w.Hosts["db2"]
		w.Mu.Unlock()
		if h.Running != nil {
			t.Error("something started it")
		}
	})
}
