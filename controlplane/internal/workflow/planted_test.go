package workflow_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// at calls fn once, when the step's handler is about to be called (or has returned, or was
// recorded).
func (p *process) at(point job.Point, step string, fn func()) {
	next, fired := p.hook, false
	p.hook = func(at job.Point, in string) {
		if next != nil {
			next(at, in)
		}
		if at == point && in == step && !fired {
			fired = true
			p.w.mu.Lock()
			defer p.w.mu.Unlock()
			fn()
		}
	}
}

// planted makes a replica in a world with something wrong in it.
func planted(t *testing.T, plant func(w *world, p *process)) (*world, *process, job.Job) {
	t.Helper()
	w, first := lab(t)
	first.stop()
	p := w.start()
	plant(w, p)
	p.run()
	return w, p, p.end(p.ask(replicaArgs).ID)
}

func TestPlantedStatesConverge(t *testing.T) {
	t.Parallel()
	cases := map[string]func(w *world, p *process){
		"H2 running on the image's own datadir": func(w *world, _ *process) {
			w.plant = func(h *host) { h.masked, h.enabled = false, true; h.start() }
		},
		"H3 the deleted default volume is still a mount": func(w *world, p *process) {
			p.at(job.BeforeEffect, "mount_data", func() {
				h := w.hosts["db2"]
				h.mountRaw(dataMount, "vol-gone", "/")
				h.mountRaw(datadirPath, "vol-gone", "/mysql")
				h.mounts[dataMount].mounted, h.mounts[datadirPath].mounted = false, false
			})
		},
		"H4 the device appears late": func(w *world,
			_ *process) {
			w.plant = func(h *host) { h.hidden = 30 }
		},
		"H11 the source's replication settings": func(w *world, _ *process) {
			w.hosts["db1"].running.disk.data.foreign = true
		},
		"H16 MariaDB dies in crash recovery": func(w *world,
			_ *process) {
			w.plant = func(h *host) { h.unstarts = 3 }
		},
		"H17 something starts MariaDB before it is configured": func(w *world, p *process) {
			p.at(job.BeforeEffect, "configure_mariadb", func() {
				if h := w.hosts["db2"]; !h.masked {
					h.start()
				}
			})
		},
		"H17 something restarts MariaDB before replication": func(w *world, p *process) {
			p.at(job.BeforeEffect, "prepare_replica",
				func() { h := w.hosts["db2"]; h.stop(); h.start() })
		},
		"H18 MariaDB is stopped before configure_replica": func(w *world, p *process) {
			p.at(job.BeforeEffect, "configure_replica", func() { w.hosts["db2"].stop() })
		},
		"H18 MariaDB is stopped while it catches up": func(w *world, p *process) {
			p.at(job.BeforeEffect, "catch_up", func() { w.hosts["db2"].stop() })
		},
		"R5 the account's password was changed": func(w *world, p *process) {
			p.at(job.BeforeEffect, "start_replica",
				func() { w.hosts["db1"].running.disk.data.accounts["us_db2"] = "other" })
		},
		"R7 the SQL thread was killed": func(w *world, p *process) {
			p.at(job.BeforeEffect, "catch_up", func() {
				c := w.hosts["db2"].running.disk.data.conn
				c.sql, c.sqlErrno, c.sqlError = false, 1927, "Connection was killed"
			})
		},
		"R9 the primary restarts": func(w *world, p *process) {
			p.at(job.BeforeEffect, "catch_up", func() { w.hosts["db1"].stop() })
			p.at(job.AfterEffect, "catch_up", func() { w.hosts["db1"].start() })
		},
		"R8 the primary is written to all along": func(w *world, p *process) {
			p.hook = func(_ job.Point, _ string) {
				w.mu.Lock()
				defer w.mu.Unlock()
				if h := w.hosts["db1"]; h.hold == nil || !h.hold.open() {
					h.running.disk.data.write(h.running.conf.ServerID, "shop.orders", 7)
				}
			}
		},
		"the replica's agent is away for a while": func(w *world, p *process) {
			p.at(job.BeforeEffect, "verify", func() { w.hosts["db2"].down = true })
			p.at(job.AfterEffect, "verify", func() { w.hosts["db2"].down = false })
		},
		"the provider fails now and then": func(_ *world, p *process) {
			for _, call := range []string{"CreateMachine", "CreateVolume", "AttachVolume",
				"CreateSnapshot", "ListVolumes"} {
				p.fail[call] = []error{fmt.Errorf("%s: internal error", call),
					fmt.Errorf("%s: internal error", call)}
			}
		},
		"the hold's limit ends it before the cut was confirmed": func(w *world, p *process) {
			p.at(job.AfterEffect, "snapshot",
				func() { w.hosts["db1"].hold.end("the limit was reached") })
		},
		"the locks are not to be had at first": func(_ *world, p *process) {
			p.fail["OpenHold"] = []error{errs.New(errs.FailedPrecondition,
				errorsv1.Reason_REASON_QUIESCE_NOT_ACQUIRED, "BACKUP STAGE was not had")}
		},
	}
	for name, plant := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _, j := planted(t, plant)
			succeeded(t, j)
			w.checkReplica(t, "db2")
			h := w.host("db2")
			if starts := h.startsOn[h.running.disk.uuid]; starts != 1 &&
				!strings.HasPrefix(name, "H17 something restarts") &&
				!strings.HasPrefix(name, "H18") {
				t.Errorf("MariaDB was started %v", h.startsOn)
			}
		})
	}
}

func TestPlantedStatesAreRefused(t *testing.T) {
	t.Parallel()
	diskOf := func(w *world) *disk { return w.hosts["db2"].datadirDisk() }
	cases := map[string]struct {
		step, reason string
		says         []string
		plant        func(w *world, p *process)
	}{
		"H6 another volume under the right name": {"mount_data", "NONCE_MISMATCH", nil,
			func(w *world, p *process) {
				p.at(job.AfterCommit, "swap_volume", func() {
					for id, v := range w.cloud.volumes {
						if v.SnapshotID != "" {
							w.cloud.disks[id].nonce = "another"
						}
					}
				})
			}},
		"H7 a filesystem that fsck cannot correct": {"mount_data", "FILESYSTEM_BROKEN", nil,
			func(w *world, p *process) {
				p.at(job.AfterCommit, "await_ready", func() {
					for id := range w.cloud.snapshots {
						w.cloud.disks[id].broken = true
					}
				})
			}},
		"H8 no filesystem where the snapshot's should be": {"mount_data", "FILESYSTEM_MISSING", nil,
			func(w *world, p *process) {
				p.at(job.AfterCommit, "await_ready", func() {
					for id := range w.cloud.snapshots {
						w.cloud.disks[id] = &disk{}
					}
				})
			}},
		"H14 an older binary": {"await_agent", "DATADIR_NEWER", []string{"11.8", "10.11"},
			func(w *world, _ *process) {
				w.plant = func(h *host) { h.binary = "10.11.14" }
			}},
		"R1 the copy wrote a row of its own": {"prepare_replica", "GTID_ERRANT",
			[]string{"0-1001-", "0-1002-"}, func(w *world, p *process) {
				p.at(job.BeforeEffect, "prepare_replica",
					func() { diskOf(w).data.write(1002, "shop.orders", 1) })
			}},
		"R1 the copy wrote a row under its source's id": {"start_mariadb", "GTID_MISMATCH",
			[]string{"0-1001-41", "0-1001-42"}, func(w *world, p *process) {
				p.at(job.BeforeEffect, "start_mariadb",
					func() { diskOf(w).data.write(1001, "shop.orders", 1) })
			}},
		"R3 the primary purged what is needed": {"create_machine", "BINLOGS_PURGED", nil,
			func(w *world, p *process) {
				p.at(job.AfterCommit, "await_ready",
					func() { w.hosts["db1"].running.disk.data.oldest = 1000 })
			}},
		"R4 another replica has the server_id": {"start_replica", "SERVER_ID_TAKEN",
			[]string{"1002", "stranger"}, func(w *world, p *process) {
				p.at(job.BeforeEffect, "start_replica", func() {
					w.hosts["db1"].readers = []replication.Connected{{ServerID: 1002,
						Host: "stranger"}}
				})
			}},
		"R6 a duplicate key": {"catch_up", "REPLICATION_ERROR",
			[]string{"1062", "Duplicate entry '7'"}, func(w *world, p *process) {
				p.at(job.BeforeEffect, "catch_up", func() {
					c := diskOf(w).data.conn
					c.sql, c.sqlErrno, c.sqlError = false, 1062,
						"Duplicate entry '7' for key 'PRIMARY'"
				})
			}},
		"the data differ": {"verify", "DATA_MISMATCH", []string{"shop.items"},
			func(w *world, p *process) {
				p.at(job.BeforeEffect, "verify", func() { diskOf(w).data.tables["shop.items"]++ })
			}},
		"C9 the machine was ended by hand": {"create_machine",
			"MACHINE_GONE", nil, endedByHand("create_machine")},
		"C9 the machine was ended by hand in a later step": {"start_mariadb",
			"MACHINE_GONE", []string{"db2"}, endedByHand("configure_mariadb")},
		"C9 the machine was ended by hand at the end": {"finish", "MACHINE_GONE",
			[]string{"db2"}, endedByHand("verify")},
		"C9 the machine was ended by hand before its volume is swapped": {"swap_volume",
			"MACHINE_GONE", []string{"db2"}, endedByHand("await_agent")},
		"E4 the volume stays in its creation": {"swap_volume", "PROVIDER_ERROR",
			[]string{"still being made"}, func(w *world, p *process) {
				p.at(job.AfterEffect, "swap_volume", w.hangVolume)
			}},
		"E5 no more volumes are allowed": {"swap_volume", "QUOTA_EXCEEDED", []string{"no more"},
			func(_ *world, p *process) {
				p.fail["CreateVolume"] = []error{provider.Errorf(provider.ErrLimitExceeded, "",
					"no more volumes")}
			}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, p, j := planted(t, c.plant)
			if j.State != job.Failed {
				t.Fatalf("job is %s\n%s", j.State, states(j))
			}
			s, _ := j.Step(c.step)
			if s.Failure == nil || s.Failure.Reason != c.reason || s.Failure.Hint.Empty() {
				t.Fatalf("%s: %+v\n%s", c.step, s.Failure, states(j))
			}
			for _, part := range c.says {
				if !strings.Contains(s.Failure.Message, part) {
					t.Errorf("the error does not say %q: %s", part, s.Failure.Message)
				}
			}
			w.checkPrimaryUntouched(t)
			if srv := w.server("db2"); srv.State != inventory.ServerFailed {
				t.Errorf("the record is %s", srv.State)
			}
			w.checkCleanup(t, p, j.ID)
		})
	}
}

// endedByHand terminates the replica's machine after a step's effect.
func endedByHand(step string) func(w *world, p *process) {
	return func(w *world, p *process) {
		p.at(job.AfterEffect, step, func() {
			for _, m := range w.cloud.machines {
				if m.Name == "db2" {
					m.State = "terminated"
					w.powerOff(m.ID)
				}
			}
		})
	}
}

// hangVolume leaves a volume that is being made in that state, for long already.
func (w *world) hangVolume() {
	for id, v := range w.cloud.volumes {
		if v.State == provider.VolumeCreating {
			v.CreatedAt = v.CreatedAt.Add(-time.Hour)
			w.cloud.settling[id] = 1 << 30
		}
	}
}

func TestRedoneVolumeReplacesTheOneThatHangs(t *testing.T) {
	t.Parallel()
	w, p, j := planted(t,
		func(w *world, p *process) { p.at(job.AfterEffect, "swap_volume", w.hangVolume) })
	if j.State != job.Failed {
		t.Fatal(states(j))
	}
	if _, err := p.engine.Redo(t.Context(), j.ID, "swap_volume",
		job.ChangeRequest{Who: "tester", Reason: "it hangs"}); err != nil {
		t.Fatal(err)
	}
	succeeded(t, p.end(j.ID))
	w.checkReplica(t, "db2") // which looks for volumes that were left
}

// checkPrimaryUntouched asserts that nothing holds the primary up.
func (w *world) checkPrimaryUntouched(t *testing.T) {
	t.Helper()
	h := w.host("db1")
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.running == nil || h.hold != nil && h.hold.open() || len(h.running.disk.data.reserved) > 0 {
		t.Errorf("the primary is held up: reserved %v", h.running.disk.data.reserved)
	}
}

// checkCleanup cleans the job up and asserts that nothing of it is left.
func (w *world) checkCleanup(t *testing.T, p *process, id string) {
	t.Helper()
	if _, err := p.engine.Cleanup(t.Context(), id, job.ChangeRequest{Who: "tester"}); err != nil {
		t.Fatal(err)
	}
	if j := p.end(id); !j.Cleaned {
		t.Fatalf("not cleaned up\n%s", states(j))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for mid, m := range w.cloud.machines {
		if m.Name == "db2" && m.State != "terminated" {
			t.Errorf("machine %s is left", mid)
		}
	}
	if len(w.cloud.volumes) != 1 || len(w.cloud.snapshots) != 0 {
		t.Errorf("left: volumes %v, snapshots %v", w.cloud.volumes, w.cloud.snapshots)
	}
	if d := w.hosts["db1"].running.disk.data; len(d.accounts) > 0 || len(d.reserved) > 0 {
		t.Errorf("left on the primary: %v %v", d.accounts, d.reserved)
	}
}

func TestCancelledAnywhereThePrimaryIsUntouched(t *testing.T) {
	t.Parallel()
	for _, step := range replicaSteps(t) {
		if step == "settle" {
			continue
		}
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w, first := lab(t)
			first.stop()
			p := w.start()
			reached, goOn := make(chan struct{}), make(chan struct{})
			p.hook = func(at job.Point, in string) {
				if at == job.BeforeEffect && in == step {
					select {
					case <-reached:
					default:
						close(reached)
						<-goOn
					}
				}
			}
			p.run()
			j := p.ask(replicaArgs)
			<-reached
			if _, err := p.engine.Cancel(t.Context(), j.ID, job.ChangeRequest{Who: "tester"}); err != nil {
				t.Fatal(err)
			}
			close(goOn)
			if j := p.end(j.ID); j.State != job.Cancelled {
				t.Fatalf("job is %s\n%s", j.State, states(j))
			}
			w.checkPrimaryUntouched(t)
			if step != "plan" {
				w.checkCleanup(t, p, j.ID)
			}
		})
	}
}

func TestFailedJobIsRetriedFromWhereItFailed(t *testing.T) {
	t.Parallel()
	w, p, j := planted(t, func(w *world, p *process) {
		p.at(job.BeforeEffect, "catch_up", func() {
			c := w.hosts["db2"].running.disk.data.conn
			c.sql, c.sqlErrno, c.sqlError = false, 1062, "Duplicate entry"
		})
	})
	if j.State != job.Failed {
		t.Fatal(states(j))
	}
	w.mu.Lock()
	w.hosts["db2"].running.disk.data.conn.sqlErrno = 0
	w.mu.Unlock()
	w.checkPrimaryUntouched(t)
	p.at(job.AfterEffect, "catch_up", func() {
		if len(w.hosts["db1"].running.disk.data.reserved) == 0 {
			t.Error("the binary logs are not reserved again")
		}
	})
	if _, err := p.engine.Retry(t.Context(), j.ID, job.ChangeRequest{Who: "tester"}); err != nil {
		t.Fatal(err)
	}
	succeeded(t, p.end(j.ID))
	w.checkReplica(t, "db2")
}
