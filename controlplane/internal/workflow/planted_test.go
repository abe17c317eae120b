package workflow_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// planted makes a replica in a world with something wrong in it.
func planted(t *testing.T, plant func(w *world, p *process)) (*world, *process, job.Job) {
	t.Helper()
	w, first := lab(t)
	first.Stop()
	p := w.Start()
	plant(w, p)
	p.Run()
	return w, p, p.End(p.Ask(replicaArgs).ID)
}

func TestPlantedStatesConverge(t *testing.T) {
	t.Parallel()
	cases := map[string]func(w *world, p *process){
		"H2 running on the image's own datadir": func(w *world, _ *process) {
			w.Plant = func(h *host) { h.Masked, h.Enabled = false, true; h.Start() }
		},
		"H3 the deleted default volume is still a mount": func(w *world, p *process) {
			p.At(job.BeforeEffect, "mount_data", func() {
				h := w.Hosts["db2"]
				h.MountRaw(kit.DataMount, "vol-gone", "/")
				h.MountRaw(kit.DatadirPath, "vol-gone", "/mysql")
				h.Mounts[kit.DataMount].Mounted, h.Mounts[kit.DatadirPath].Mounted = false, false
			})
		},
		"H4 the device appears late": func(w *world,
			_ *process) {
			w.Plant = func(h *host) { h.Hidden = 30 }
		},
		"H11 the source's replication settings": func(w *world, _ *process) {
			w.Hosts["db1"].Running.Disk.Data.Foreign = true
		},
		"F10 the datadir needs options and a plugin": func(w *world, _ *process) {
			w.Hosts["db1"].Contract.Libraries = []string{"ha_archive.so"}
			w.Plant = func(h *host) { h.Libraries = []string{"ha_archive.so"} }
		},
		"H16 MariaDB dies in crash recovery": func(w *world,
			_ *process) {
			w.Plant = func(h *host) { h.Unstarts = 3 }
		},
		"H17 something starts MariaDB before it is configured": func(w *world, p *process) {
			p.At(job.BeforeEffect, "configure_mariadb", func() {
				if h := w.Hosts["db2"]; !h.Masked {
					h.Start()
				}
			})
		},
		"H17 something restarts MariaDB before replication": func(w *world, p *process) {
			p.At(job.BeforeEffect, "prepare_replica",
				func() { h := w.Hosts["db2"]; h.Stop(); h.Start() })
		},
		"H18 MariaDB is stopped before configure_replica": func(w *world, p *process) {
			p.At(job.BeforeEffect, "configure_replica", func() { w.Hosts["db2"].Stop() })
		},
		"H18 MariaDB is stopped while it catches up": func(w *world, p *process) {
			p.At(job.BeforeEffect, "catch_up", func() { w.Hosts["db2"].Stop() })
		},
		"R5 the account's password was changed": func(w *world, p *process) {
			p.At(job.BeforeEffect, "start_replica",
				func() { w.Hosts["db1"].Running.Disk.Data.Accounts["us_db2"] = "other" })
		},
		"R5 the replica's certificate is not accepted for a while": func(w *world, p *process) {
			p.At(job.BeforeEffect, "start_replica", func() { w.Hosts["db2"].NotAccepted = true })
			p.At(job.AfterEffect, "start_replica", func() { w.Hosts["db2"].NotAccepted = false })
		},
		"R7 the SQL thread was killed": func(w *world, p *process) {
			p.At(job.BeforeEffect, "catch_up", func() {
				c := w.Hosts["db2"].Running.Disk.Data.Conn
				c.SQL, c.SQLErrno, c.SQLError = false, 1927, "Connection was killed"
			})
		},
		"R9 the primary restarts": func(w *world, p *process) {
			p.At(job.BeforeEffect, "catch_up", func() { w.Hosts["db1"].Stop() })
			p.At(job.AfterEffect, "catch_up", func() { w.Hosts["db1"].Start() })
		},
		"R8 the primary is written to all along": func(w *world, p *process) {
			p.OnPoint(func(_ job.Point, _ string) {
				w.Mu.Lock()
				defer w.Mu.Unlock()
				if h := w.Hosts["db1"]; h.Hold == nil || !h.Hold.Open() {
					h.Running.Disk.Data.Write(h.Running.Conf.ServerID, "shop.orders", 7)
				}
			})
		},
		"the replica's agent is away for a while": func(w *world, p *process) {
			p.At(job.BeforeEffect, "verify", func() { w.Hosts["db2"].Down = true })
			p.At(job.AfterEffect, "verify", func() { w.Hosts["db2"].Down = false })
		},
		"the provider fails now and then": func(_ *world, p *process) {
			for _, call := range []string{"CreateMachine", "CreateVolume", "AttachVolume",
				"CreateSnapshot", "ListVolumes"} {
				p.Fail[call] = []error{fmt.Errorf("%s: internal error", call),
					fmt.Errorf("%s: internal error", call)}
			}
		},
		"the hold's limit ends it before the cut was confirmed": func(w *world, p *process) {
			p.At(job.AfterEffect, "snapshot",
				func() { w.Hosts["db1"].Hold.End("the limit was reached") })
		},
		"the locks are not to be had at first": func(_ *world, p *process) {
			p.Fail["OpenHold"] = []error{errs.New(errs.FailedPrecondition,
				errorsv1.Reason_REASON_QUIESCE_NOT_ACQUIRED, "BACKUP STAGE was not had")}
		},
	}
	for name, plant := range cases {
		bubbles(t, name, func(t *testing.T) {
			w, _, j := planted(t, plant)
			succeeded(t, j)
			w.CheckReplica(t, "db2")
			h := w.Host("db2")
			if point := w.Hosts["db1"].Contract; !reflect.DeepEqual(*h.File.Contract, point) {
				t.Errorf("the option file has %+v, not %+v", h.File.Contract, point)
			}
			if starts := h.StartsOn[h.Running.Disk.UUID]; starts != 1 &&
				!strings.HasPrefix(name, "H17 something restarts") &&
				!strings.HasPrefix(name, "H18") {
				t.Errorf("MariaDB was started %v", h.StartsOn)
			}
		})
	}
}

func TestPlantedStatesAreRefused(t *testing.T) {
	t.Parallel()
	diskOf := func(w *world) *disk { return w.Hosts["db2"].DatadirDisk() }
	cases := map[string]struct {
		step, reason string
		says         []string
		plant        func(w *world, p *process)
	}{
		"H6 another volume under the right name": {"mount_data", "NONCE_MISMATCH", nil,
			func(w *world, p *process) {
				p.At(job.AfterCommit, "swap_volume", func() {
					for id, v := range w.Cloud.Volumes {
						if v.SnapshotID != "" {
							w.Cloud.Disks[id].Nonce = "another"
						}
					}
				})
			}},
		"H7 a filesystem that fsck cannot correct": {"mount_data", "FILESYSTEM_BROKEN", nil,
			func(w *world, p *process) {
				p.At(job.AfterCommit, "await_ready", func() {
					for id := range w.Cloud.Snapshots {
						w.Cloud.Disks[id].Broken = true
					}
				})
			}},
		"H8 no filesystem where the snapshot's should be": {"mount_data", "FILESYSTEM_MISSING", nil,
			func(w *world, p *process) {
				p.At(job.AfterCommit, "await_ready", func() {
					for id := range w.Cloud.Snapshots {
						w.Cloud.Disks[id] = &disk{}
					}
				})
			}},
		"H14 an older binary": {"await_agent", "DATADIR_NEWER", []string{"11.8", "10.11"},
			func(w *world, _ *process) {
				w.Plant = func(h *host) { h.Binary = "10.11.14" }
			}},
		"H14 a binary that cannot recover the log": {"await_agent", "SNAPSHOT_UNUSABLE",
			[]string{"10.6.20", "11.8"}, func(w *world, p *process) {
				p.At(job.AfterCommit, "plan", func() { w.Hosts["db1"].Binary = "10.6.20" })
			}},
		"R1 the copy wrote a row of its own": {"prepare_replica", "GTID_ERRANT",
			[]string{"0-1001-", "0-1002-"}, func(w *world, p *process) {
				p.At(job.BeforeEffect, "prepare_replica",
					func() { diskOf(w).Data.Write(1002, "shop.orders", 1) })
			}},
		"R1 the copy wrote a row under its source's id": {"start_mariadb", "GTID_MISMATCH",
			[]string{"0-1001-41", "0-1001-42"}, func(w *world, p *process) {
				p.At(job.BeforeEffect, "start_mariadb",
					func() { diskOf(w).Data.Write(1001, "shop.orders", 1) })
			}},
		"R3 the primary purged what is needed": {"create_machine", "BINLOGS_PURGED", nil,
			func(w *world, p *process) {
				p.At(job.AfterCommit, "await_ready",
					func() { w.Hosts["db1"].Running.Disk.Data.Oldest = 1000 })
			}},
		"R4 another replica has the server_id": {"start_replica", "SERVER_ID_TAKEN",
			[]string{"1002", "stranger"}, func(w *world, p *process) {
				p.At(job.BeforeEffect, "start_replica", func() {
					w.Hosts["db1"].Readers = []replication.Connected{{ServerID: 1002,
						Host: "stranger"}}
				})
			}},
		"F2 the primary began another history": {"prepare_replica", "GTID_MISMATCH",
			[]string{"another history since (db9 has read more)"},
			func(w *world, p *process) {
				p.At(job.BeforeEffect, "prepare_replica", func() {
					h := w.Hosts["db1"]
					h.History, h.Reason = "another", "db9 has read more"
				})
			}},
		"F5 the primary leaves a schema out": {"check_primary", "MARIADB_SETTING",
			[]string{"binlog_ignore_db=app"}, func(w *world, p *process) {
				p.At(job.AfterCommit, "plan", func() {
					w.Hosts["db1"].Losses = map[string]string{"binlog_ignore_db": "app"}
				})
			}},
		"F7 the replica goes on behind errors": {"prepare_replica", "MARIADB_SETTING",
			[]string{"slave_skip_errors=ALL"}, func(w *world, p *process) {
				p.At(job.BeforeEffect, "prepare_replica", func() {
					w.Hosts["db2"].Losses = map[string]string{"slave_skip_errors": "ALL"}
				})
			}},
		"F10 the replica's host has another time zone": {"prepare_replica", "HOST_UNFIT",
			[]string{"JST", "UTC"}, func(w *world, p *process) {
				w.Hosts["db1"].Losses = map[string]string{"system_time_zone": "UTC",
					"system_time_zone_offsets": "a"}
				p.At(job.BeforeEffect, "prepare_replica", func() {
					w.Hosts["db2"].Losses = map[string]string{"system_time_zone": "JST",
						"system_time_zone_offsets": "b"}
				})
			}},
		"F10 the replica's host makes other rows of a statement": {"prepare_replica", "HOST_UNFIT",
			[]string{"group_concat_max_len is 1048576", "1024"}, func(w *world, p *process) {
				w.Hosts["db1"].Losses = map[string]string{"group_concat_max_len": "1024"}
				p.At(job.BeforeEffect, "prepare_replica", func() {
					w.Hosts["db2"].Losses = map[string]string{"group_concat_max_len": "1048576"}
				})
			}},
		"R6 a duplicate key": {"catch_up", "REPLICATION_ERROR",
			[]string{"1062", "Duplicate entry '7'"}, func(w *world, p *process) {
				p.At(job.BeforeEffect, "catch_up", func() {
					c := diskOf(w).Data.Conn
					c.SQL, c.SQLErrno, c.SQLError = false, 1062,
						"Duplicate entry '7' for key 'PRIMARY'"
				})
			}},
		"F1 the primary has a file on another volume": {"check_primary", "FILES_ELSEWHERE",
			[]string{"db1", "/srv/redo"}, func(w *world, _ *process) {
				w.Hosts["db1"].Elsewhere = "/srv/redo (variable innodb_log_group_home_dir)"
			}},
		"F10 the image lacks a plugin": {"mount_data", "HOST_UNFIT", []string{"ha_archive.so"},
			func(w *world, _ *process) {
				w.Hosts["db1"].Contract.Libraries = []string{"ha_archive.so"}
			}},
		"the data differ": {"verify", "DATA_MISMATCH", []string{"shop.items"},
			func(w *world, p *process) {
				p.At(job.BeforeEffect, "verify", func() { diskOf(w).Data.Tables["shop.items"]++ })
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
				p.At(job.AfterEffect, "swap_volume", w.HangVolume)
			}},
		"E5 no more volumes are allowed": {"swap_volume", "QUOTA_EXCEEDED", []string{"no more"},
			func(_ *world, p *process) {
				p.Fail["CreateVolume"] = []error{provider.Errorf(provider.ErrLimitExceeded, "",
					"no more volumes")}
			}},
	}
	for name, c := range cases {
		bubbles(t, name, func(t *testing.T) {
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
			w.CheckPrimaryUntouched(t)
			if srv := w.Server("db2"); srv.State != inventory.ServerFailed {
				t.Errorf("the record is %s", srv.State)
			}
			w.CheckCleanup(t, p, j.ID)
		})
	}
}

// endedByHand terminates the replica's machine after a step's effect.
func endedByHand(step string) func(w *world, p *process) {
	return func(w *world, p *process) {
		p.At(job.AfterEffect, step, func() {
			for _, m := range w.Cloud.Machines {
				if m.Name == "db2" {
					m.State = "terminated"
					w.PowerOff(m.ID)
				}
			}
		})
	}
}

func TestRedoneVolumeReplacesTheOneThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, j := planted(t,
			func(w *world, p *process) {
				p.At(job.AfterEffect, "swap_volume", w.HangVolume)
			})
		if j.State != job.Failed {
			t.Fatal(states(j))
		}
		if _, err := p.Engine.Redo(t.Context(), j.ID, "swap_volume",
			job.ChangeRequest{Who: "tester", Reason: "it hangs"}); err != nil {
			t.Fatal(err)
		}
		succeeded(t, p.End(j.ID))
		w.CheckReplica(t, "db2") // which looks for volumes that were left
	})
}

func TestCancelledAnywhereThePrimaryIsUntouched(t *testing.T) {
	t.Parallel()
	for _, step := range replicaSteps(t) {
		if step == "settle" {
			continue
		}
		bubbles(t, step, func(t *testing.T) {
			w, first := lab(t)
			first.Stop()
			p := w.Start()
			reached, goOn := make(chan struct{}), make(chan struct{})
			p.OnPoint(func(at job.Point, in string) {
				if at == job.BeforeEffect && in == step {
					select {
					case <-reached:
					default:
						close(reached)
						<-goOn
					}
				}
			})
			p.Run()
			j := p.Ask(replicaArgs)
			<-reached
			if _, err := p.Engine.Cancel(t.Context(), j.ID, asTester); err != nil {
				t.Fatal(err)
			}
			close(goOn)
			if j := p.End(j.ID); j.State != job.Cancelled {
				t.Fatalf("job is %s\n%s", j.State, states(j))
			}
			w.CheckPrimaryUntouched(t)
			if step != "plan" {
				w.CheckCleanup(t, p, j.ID)
			}
		})
	}
}

func TestFailedJobIsRetriedFromWhereItFailed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, j := planted(t, func(w *world, p *process) {
			p.At(job.BeforeEffect, "catch_up", func() {
				c := w.Hosts["db2"].Running.Disk.Data.Conn
				c.SQL, c.SQLErrno, c.SQLError = false, 1062, "Duplicate entry"
			})
		})
		if j.State != job.Failed {
			t.Fatal(states(j))
		}
		w.Mu.Lock()
		w.Hosts["db2"].Running.Disk.Data.Conn.SQLErrno = 0
		w.Mu.Unlock()
		w.CheckPrimaryUntouched(t)
		p.At(job.AfterEffect, "catch_up", func() {
			if len(w.Hosts["db1"].Running.Disk.Data.Reserved) == 0 {
				t.Error("the binary logs are not reserved again")
			}
		})
		if _, err := p.Engine.Retry(t.Context(), j.ID, asTester); err != nil {
			t.Fatal(err)
		}
		succeeded(t, p.End(j.ID))
		w.CheckReplica(t, "db2")
	})
}
