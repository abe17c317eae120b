package workflow_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/machine"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

var rebooting = workflowtest.Reboot{Server: "db2"}

// stepsOf are the names of a kind's steps.
func stepsOf(kind kit.Kind) (names []string) {
	for _, s := range kind.Steps {
		names = append(names, s.Name)
	}
	return names
}

// checkBoots expects the host to have been booted so many times again, and the server READY.
func checkBoots(t *testing.T, w *world, server string, boots int) {
	t.Helper()
	srv, h := w.Server(server), w.Host(server)
	w.Mu.Lock()
	defer w.Mu.Unlock()
	if srv.State != inventory.ServerReady || h.Running == nil || h.Boots() != boots {
		t.Errorf("%s is %s (%s) after %d boots, not %d", server, srv.State, srv.StateReason,
			h.Boots(), boots)
	}
}

func TestAMachineIsRestartedAndItsServerProved(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"db1", "db2"} {
		bubbles(t, server, func(t *testing.T) {
			w, p, _ := withReplica(t)
			mark, before := w.Mark(), w.Host(server).BootID()
			var meanwhile inventory.ServerState
			p.At(job.AfterEffect, "serve", func() { meanwhile = w.Server(server).State })
			j := p.Must(workflowtest.Reboot{Server: server, AllowPrimary: server == "db1"})
			checkBoots(t, w, server, 1)
			if changes := w.Changes(mark); !slices.Equal(changes,
				[]string{"cloud:RebootMachine"}) || w.Host(server).BootID() == before {
				t.Errorf("it changed %v", changes)
			}
			if meanwhile != inventory.ServerProvisioning {
				t.Errorf("it was %s before it was proved", meanwhile)
			}
			mark = w.Mark()
			for _, s := range j.Steps {
				if _, err := p.Engine.RetryStep(t.Context(), j.ID, s.Kind, asTester); err != nil {
					t.Fatal(err)
				}
				succeeded(t, p.End(j.ID))
			}
			checkBoots(t, w, server, 1)
			if changes := w.Changes(mark); len(changes) > 0 {
				t.Errorf("each step alone changed %v", changes)
			}
			if server == "db2" {
				checkReplicates(t, w)
			}
		})
	}
}

// TestARestartThatIsKilledAnywhereHappensOnce kills the control plane at each call of each step.
func TestARestartThatIsKilledAnywhereHappensOnce(t *testing.T) {
	t.Parallel()
	for _, step := range stepsOf(machine.RebootServer()) {
		for _, point := range []job.Point{job.BeforeEffect, job.AfterEffect, job.AfterCommit} {
			for nth := 1; nth <= 4; nth++ {
				if nth > 1 && step != "reboot" {
					continue
				}
				bubbles(t, fmt.Sprint(step, "/", point, "/", nth), func(t *testing.T) {
					w, p, _ := again(t)
					killed, calls := make(chan struct{}), 0
					p.OnPoint(func(at job.Point, in string) {
						if at != point || in != step || p.Dead.Load() {
							return
						}
						if calls++; calls == nth {
							p.Kill()
							close(killed)
						}
					})
					p.Run()
					j := p.Ask(rebooting)
					<-killed
					succeeded(t, w.Start().Run().End(j.ID))
					checkBoots(t, w, "db2", 1)
					checkReplicates(t, w)
				})
			}
		}
	}
}

func TestALostAnswerOfARestartRestartsOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := withReplica(t)
		w.Mu.Lock()
		p.Lose["RebootMachine"] = 1
		w.Mu.Unlock()
		mark := w.Mark()
		p.Must(rebooting)
		checkBoots(t, w, "db2", 1)
		if changes := w.Changes(mark); len(changes) != 1 {
			t.Errorf("it changed %v", changes)
		}
	})
}

// TestARequestThatWasNotHeardIsMadeAgain: the provider took it, and nothing happened.
func TestARequestThatWasNotHeardIsMadeAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := withReplica(t)
		w.Mu.Lock()
		w.Cloud.Deaf = true
		w.Mu.Unlock()
		p.Behind["RebootMachine"] = func() {
			w.Mu.Lock()
			defer w.Mu.Unlock()
			w.Cloud.Deaf = false
		}
		began := time.Now()
		p.Must(rebooting)
		checkBoots(t, w, "db2", 1)
		if took := time.Since(began); took < 10*time.Minute || took > 15*time.Minute {
			t.Errorf("it was asked again after %s", took)
		}
	})
}

func TestACancelledRestartLeavesTheServerToTheMonitor(t *testing.T) {
	t.Parallel()
	for _, step := range stepsOf(machine.RebootServer()) {
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
			j := p.Ask(rebooting)
			<-reached
			if _, err := p.Engine.Cancel(t.Context(), j.ID, asTester); err != nil {
				t.Fatal(err)
			}
			close(goOn)
			j = p.End(j.ID)
			switch state := w.Server("db2").State; state {
			case inventory.ServerReady, inventory.ServerUnreachable:
			default:
				t.Errorf("cancelled in %s the server is %s", step, state)
			}
			if j.State == job.Succeeded {
				return
			}
			if _, err := p.Engine.Retry(t.Context(), j.ID, asTester); err != nil {
				t.Fatal(err)
			}
			succeeded(t, p.End(j.ID))
			checkBoots(t, w, "db2", 1)
		})
	}
}

// TestWhatABootDidNotStartIsStarted: and what was found before stays until it is disproved.
func TestWhatABootDidNotStartIsStarted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := withReplica(t)
		w.Mu.Lock()
		w.Hosts["db2"].Unbooted = true
		w.Mu.Unlock()
		changeServer(t, w, "db2", func(srv *inventory.Server) error {
			srv.Findings = []inventory.Finding{{Code: "DATA_DIFFERS", Text: "its data differ"}}
			return srv.SetState(inventory.ServerDegraded, "its data differ")
		})
		mark := w.Mark()
		p.Must(rebooting)
		srv := w.Server("db2")
		if changes := w.Changes(mark); !slices.Equal(changes,
			[]string{"cloud:RebootMachine", "db2:EnsureUnit"}) ||
			srv.State != inventory.ServerDegraded || len(srv.Findings) != 1 {
			t.Errorf("%v, and it is %s: %+v", changes, srv.State, srv.Findings)
		}
	})
}

func TestWhatMayNotRestartIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ask    workflowtest.Reboot
		plant  func(w *world)
		reason string
	}{
		"it is a primary": {workflowtest.Reboot{Server: "db1"}, func(*world) {}, "WRONG_ROLE"},
		"a replica that takes writes": {rebooting, func(w *world) {
			w.Hosts["db2"].Running.ReadOnly = false
		}, "WRONG_ROLE"},
		"throws away what is between": {rebooting, func(w *world) {
			w.Hosts["db2"].Received = "0-1-99"
			w.Hosts["db1"].Stop()
		}, "GTID_NOT_REACHED"},
	} {
		bubbles(t, name, func(t *testing.T) {
			w, p, _ := withReplica(t)
			w.Mu.Lock()
			c.plant(w)
			w.Mu.Unlock()
			mark := w.Mark()
			err := c.ask.Args().Check(t.Context(), p.Flow)
			if err == nil {
				j := p.End(p.Ask(c.ask).ID)
				s, _ := j.Step("check")
				if j.State != job.Failed || s.Failure == nil || s.Failure.Reason != c.reason ||
					!strings.Contains(s.Failure.Message, name) || s.Failure.Hint.Text == "" {
					t.Errorf("%s\n%+v", states(j), s.Failure)
				}
			} else if !strings.Contains(err.Error(), name) ||
				errs.ReasonOf(err) != errorsv1.Reason_REASON_WRONG_ROLE {
				t.Error(err)
			}
			if changes := w.Changes(mark); len(changes) > 0 {
				t.Errorf("it changed %v", changes)
			}
		})
	}
}

// TestWhatHealsIsWaitedFor: right after the primary's agent was restarted nobody knows its MariaDB.
func TestWhatHealsIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]workflowtest.Asked{"reboot": rebooting, "stop": stopping} {
		bubbles(t, name, func(t *testing.T) {
			w, p, _ := withReplica(t)
			w.Mu.Lock()
			w.Hosts["db2"].Received = "0-1-99"
			w.Hosts["db1"].Stop()
			w.Mu.Unlock()
			time.AfterFunc(20*time.Second, func() {
				w.Mu.Lock()
				defer w.Mu.Unlock()
				w.Hosts["db2"].Received = ""
				w.Hosts["db1"].Start()
			})
			p.Must(ask)
		})
	}
}
