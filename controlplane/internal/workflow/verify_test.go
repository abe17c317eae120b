package workflow_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
)

// withReplica is a world with a READY replica, and the job that made it.
func withReplica(t *testing.T) (*world, *process, job.Job) {
	t.Helper()
	w, p := lab(t)
	return w, p, p.Must(replica{Server: "db2", Source: "db1"})
}

// again is a world with a READY replica, and a process that does not run yet.
func again(t *testing.T) (*world, *process, job.Job) {
	t.Helper()
	w, first, made := withReplica(t)
	first.Stop()
	return w, w.Start(), made
}

// checkReplicates expects both threads of the replica to run.
func checkReplicates(t *testing.T, w *world) {
	t.Helper()
	w.Mu.Lock()
	c := w.Hosts["db2"].Running.Disk.Data.Conn
	io, sql := c.IO, c.SQL
	w.Mu.Unlock()
	if !io || !sql {
		t.Errorf("replication is left stopped: IO %v, SQL %v", io, sql)
	}
	w.CheckReplica(t, "db2")
}

// ofVerification are the only calls that a verification may change a replica by.
var ofVerification = []string{"db2:StopReplication", "db2:StartUntil", "db2:StartReplication"}

func TestVerificationRecordsWhatItCompared(t *testing.T) {
	t.Parallel()
	levels := map[inventory.VerifyLevel]int{inventory.VerifyPosition: 0,
		inventory.VerifySample: 1, inventory.VerifyFull: 1}
	for level, stops := range levels {
		bubbles(t, string(level), func(t *testing.T) {
			w, p, _ := withReplica(t)
			w.Mu.Lock()
			h := w.Hosts["db2"]
			h.File.Options["max_connections"] = "77" // an operator's
			file := *h.File
			w.Mu.Unlock()
			time.Sleep(time.Hour)
			began, mark := time.Now(), w.Mark()
			p.Must(verification{Replica: "db2", Level: level})

			w.Mu.Lock()
			position := w.Hosts["db1"].Running.Disk.Data.Pos()
			if !reflect.DeepEqual(*h.File, file) || h.Starts != 1 {
				t.Errorf("%d starts of MariaDB; its option file is %+v", h.Starts, h.File)
			}
			w.Mu.Unlock()
			got := w.Server("db2").Verified
			if got.Level != level || got.GTID != position || got.Time.Before(began) ||
				got.Time.After(time.Now()) {
				t.Errorf("at %s, up to %s: %+v", began, position, got)
			}
			changes, stopped := w.Changes(mark), 0
			for _, c := range changes {
				if c == "db2:StopReplication" {
					stopped++
				}
				if !slices.Contains(ofVerification, c) {
					t.Errorf("it changed %s", c)
				}
			}
			if stopped != stops {
				t.Errorf("replication was stopped %d times, want %d", stopped, stops)
			}
			checkReplicates(t, w)
		})
	}
}

// TestSampleSaysWhatIsInIt has a table that would cost the primary too much.
func TestSampleSaysWhatIsInIt(t *testing.T) {
	t.Parallel()
	for level, says := range map[inventory.VerifyLevel]string{
		inventory.VerifySample: "the sample is shop.items, understudy.proof\nleft out 1 tables, " +
			"1TiB: shop.huge (1TiB: it is larger than what is left of the sample)\n" +
			"compared 2 tables",
		inventory.VerifyFull: "compared 3 tables",
	} {
		bubbles(t, string(level), func(t *testing.T) {
			w, p, _ := withReplica(t)
			w.Mu.Lock()
			for _, name := range []string{"db1", "db2"} {
				w.Hosts[name].Running.Disk.Data.Tables = map[string]uint64{"shop.items": 1,
					workflowtest.Huge: 2}
			}
			w.Mu.Unlock()
			j := p.Must(verification{Replica: "db2", Level: level})
			s, _ := j.Step("verify")
			if found := strings.Join(s.Found, "\n"); !strings.Contains(found, says) {
				t.Errorf("%s\nwant %s", found, says)
			}
		})
	}
}

func TestVerificationThatFindsADifferenceTakesTheDateAway(t *testing.T) {
	t.Parallel()
	for _, level := range []inventory.VerifyLevel{inventory.VerifySample, inventory.VerifyFull} {
		bubbles(t, string(level), func(t *testing.T) {
			w, p, _ := withReplica(t)
			if w.Server("db2").Verified.Time.IsZero() {
				t.Fatal("the replica was not verified when it was made")
			}
			w.Mu.Lock()
			tables := w.Hosts["db2"].Running.Disk.Data.Tables
			tables["shop.items"]++
			w.Mu.Unlock()
			j := p.End(p.Ask(verification{Replica: "db2", Level: level}).ID)
			s, _ := j.Step("verify")
			if j.State != job.Failed || s.Failure == nil || s.Failure.Reason != "DATA_MISMATCH" ||
				!strings.Contains(s.Failure.Message, "shop.items") {
				t.Errorf("job is %s: %+v\n%s", j.State, s.Failure, states(j))
			}
			if got := w.Server("db2").Verified; got != (inventory.Verification{}) {
				t.Errorf("it counts as verified still: %+v", got)
			}
			if got, is := w.Server("db2").UnprovedData(); !is || got.Code != "DATA_DIFFERS" ||
				!strings.Contains(got.Why, "shop.items") {
				t.Errorf("what was found is on record as %+v", got)
			}
			w.Mu.Lock()
			tables["shop.items"]--
			w.Mu.Unlock()
			checkReplicates(t, w)
			p.Must(verification{Replica: "db2", Level: level})
			if got := w.Server("db2").Verified; got.Level != level {
				t.Errorf("repaired and verified again: %+v", got)
			}
			_, is := w.Server("db2").UnprovedData()
			if all := level == inventory.VerifyFull; is == all {
				t.Errorf("a verification to level %s ends it: %t", level, !is)
			}
		})
	}
}

// TestADoubtStaysWhileATableCouldNotBeCompared, and the job says so.
func TestADoubtStaysWhileATableCouldNotBeCompared(t *testing.T) {
	t.Parallel()
	bubbles(t, "restless", func(t *testing.T) {
		w, p, _ := withReplica(t)
		doubted(t, w)
		w.Mu.Lock()
		data := w.Hosts["db1"].Running.Disk.Data
		data.Restless["shop.log"], data.Tables["shop.log"] = true, 100
		w.Hosts["db2"].Running.Disk.Data.Tables["shop.log"] = 1
		w.Mu.Unlock()
		full := verification{Replica: "db2", Level: inventory.VerifyFull}
		j := p.Must(full)
		s, _ := j.Step("verify")
		if found := strings.Join(s.Found, "\n"); !strings.Contains(found,
			"not compared: shop.log (InnoDB: changes all the time)") ||
			!strings.Contains(found, "DATA_UNPROVED: stop") {
			t.Error(found)
		}
		if _, is := w.Server("db2").UnprovedData(); !is {
			t.Error("a verification that left a table out ended the doubt")
		}
		w.Mu.Lock()
		data.Restless["shop.log"], data.Tables["shop.log"] = false, 1
		w.Mu.Unlock()
		p.Must(full)
		if _, is := w.Server("db2").UnprovedData(); is {
			t.Error("one of all tables did not end it")
		}
	})
}

// What is not right on a replica is its operator's to repair: the job refuses and changes nothing.
func TestVerificationTouchesNothingThatItDidNotStop(t *testing.T) {
	t.Parallel()
	connection := func(h *host) *workflowtest.Settings { return h.Running.Disk.Data.Conn }
	cases := map[string]struct {
		reason string
		plant  func(h *host)
	}{
		"replication was stopped": {"REPLICATION_ERROR", func(h *host) {
			connection(h).IO, connection(h).SQL = false, false
		}},
		"the SQL thread was stopped": {"REPLICATION_ERROR", func(h *host) {
			connection(h).SQL = false
		}},
		"replication is broken": {"REPLICATION_ERROR", func(h *host) {
			c := connection(h)
			c.SQL, c.SQLErrno, c.SQLError = false, 1062, "Duplicate entry"
		}},
		"replication was taken away": {"REPLICATION_ERROR", func(h *host) {
			h.Running.Disk.Data.Conn = nil
		}},
		"it takes writes": {"WRONG_ROLE", func(h *host) { h.Running.ReadOnly = false }},
		"its server_id was changed": {"MARIADB_SETTING", func(h *host) {
			h.Running.Conf.ServerID = 7
		}},
	}
	for name, c := range cases {
		bubbles(t, name, func(t *testing.T) {
			w, p, _ := withReplica(t)
			w.Mu.Lock()
			c.plant(w.Hosts["db2"])
			w.Mu.Unlock()
			before, mark := w.Server("db2").Verified, w.Mark()
			j := p.End(p.Ask(verification{Replica: "db2", Level: inventory.VerifyFull}).ID)
			s, _ := j.Step("check")
			if j.State != job.Failed || s.Failure == nil || s.Failure.Reason != c.reason ||
				s.Failure.Hint.Empty() {
				t.Errorf("job is %s: %+v\n%s", j.State, s.Failure, states(j))
			}
			if changes := w.Changes(mark); len(changes) > 0 {
				t.Errorf("it changed %v\n%s", changes, states(j))
			}
			if after := w.Server("db2").Verified; after != before {
				t.Errorf("the record says %+v, was %+v", after, before)
			}
		})
	}
}

func TestVerificationIsRefusedOfWhatIsNoReplica(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, p, _ := withReplica(t)
		for name, part := range map[string]string{"db1": "not a replica", "db9": "db9",
			"": "name"} {
			_, err := p.Flow.DryRun(t.Context(), kit.Request{
				Args: verification{Replica: name}.Args()})
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
}

// comparing are the kinds of jobs that compare a replica's data.
var comparing = map[string]func(t *testing.T) (*world, *process){
	"create_replica": func(t *testing.T) (*world, *process) {
		w, first := lab(t)
		first.Stop()
		return w, w.Start()
	},
	"verify_replica": func(t *testing.T) (*world, *process) {
		w, p, _ := again(t)
		return w, p
	},
}

func askToCompare(p *process, kind string) job.Job {
	if kind == "create_replica" {
		return p.Ask(replicaArgs)
	}
	return p.Ask(verification{Replica: "db2", Level: inventory.VerifyFull})
}

// TestKilledWhileTheReplicaStandsStill kills the process between stopping the SQL thread and
// starting it again.
func TestKilledWhileTheReplicaStandsStill(t *testing.T) {
	t.Parallel()
	for kind, begin := range comparing {
		for _, call := range []string{"StopReplication", "StartUntil"} {
			bubbles(t, kind+" behind "+call, func(t *testing.T) {
				w, p := begin(t)
				killed := make(chan struct{})
				p.Behind[call] = func() { p.Kill(); close(killed) }
				p.Run()
				j := askToCompare(p, kind)
				<-killed
				w.Mu.Lock()
				if w.Hosts["db2"].Running.Disk.Data.Conn.SQL {
					t.Error("the SQL thread runs: there is nothing to test")
				}
				w.Mu.Unlock()
				succeeded(t, w.Start().Run().End(j.ID))
				if got := w.Server("db2").Verified; got.Level != inventory.VerifyFull {
					t.Errorf("%+v", got)
				}
				checkReplicates(t, w)
			})
		}
	}
}

// TestCancelledWhileTheReplicaStandsStill cancels the job while the SQL thread is stopped.
func TestCancelledWhileTheReplicaStandsStill(t *testing.T) {
	t.Parallel()
	for kind, begin := range comparing {
		bubbles(t, kind, func(t *testing.T) {
			w, p := begin(t)
			reached, goOn := make(chan struct{}), make(chan struct{})
			p.Behind["StopReplication"] = func() { close(reached); <-goOn }
			p.Run()
			j := askToCompare(p, kind)
			<-reached
			if _, err := p.Engine.Cancel(t.Context(), j.ID, asTester); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute) // until the step's context has ended
			close(goOn)
			if j = p.End(j.ID); j.State != job.Cancelled {
				t.Errorf("job is %s\n%s", j.State, states(j))
			}
			w.Mu.Lock()
			defer w.Mu.Unlock()
			h := w.Hosts["db2"]
			if v := replication.Diagnose(h.Connection()[0]); v.Threads != replication.Running {
				t.Errorf("replication is left stopped: %s", v)
			}
		})
	}
}

// TestVerificationSettlesAlone runs the last step of a verification that an operator stopped
// replication after: that is theirs.
func TestVerificationSettlesAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := withReplica(t)
		j := p.Must(verification{Replica: "db2"})
		w.Mu.Lock()
		w.Hosts["db2"].Running.Disk.Data.Conn.SQL = false
		w.Mu.Unlock()
		mark := w.Mark()
		p.Alone(j.ID, "settle")
		if changes := w.Changes(mark); len(changes) > 0 {
			t.Errorf("it changed %v", changes)
		}
	})
}

// TestVerificationHintsAtNoCleanup makes verifications fail whose hints could name the cleanup of a
// job that made nothing.
func TestVerificationHintsAtNoCleanup(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]func(w *world){
		"binary logs are purged": func(w *world) {
			w.Hosts["db1"].Running.Disk.Data.Oldest = 1000
		},
		"replication is broken": func(w *world) {
			c := w.Hosts["db2"].Running.Disk.Data.Conn
			c.SQL, c.SQLErrno, c.SQLError = false, 1032, "Can't find record"
		},
		"the machine is gone": func(w *world) {
			for _, m := range w.Cloud.Machines {
				if m.Name == "db2" {
					m.State = provider.MachineTerminated
				}
			}
		},
	} {
		bubbles(t, name, func(t *testing.T) {
			w, p, _ := again(t)
			p.At(job.BeforeEffect, "verify", func() { breaks(w) })
			p.Run()
			j := p.End(p.Ask(verification{Replica: "db2"}).ID)
			s, _ := j.Step("verify")
			if s.Failure == nil {
				t.Fatalf("job is %s\n%s", j.State, states(j))
			}
			for _, call := range s.Failure.Hint.Actions {
				if call.Method == "CleanupJob" {
					t.Errorf("%s: the hint is %+v", s.Failure.Message, s.Failure.Hint)
				}
			}
		})
	}
}
