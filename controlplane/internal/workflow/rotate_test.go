package workflow_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
)

var rotation = workflowtest.Rotation{Replica: "db2"}

// signsIn expects the replica and its account to have the same credentials.
func signsIn(t *testing.T, w *world, certificate bool) {
	t.Helper()
	checkReplicates(t, w)
	w.Mu.Lock()
	defer w.Mu.Unlock()
	conn := w.Hosts["db2"].Connection()[0]
	if demands := w.Hosts["db1"].Running.Disk.Data.Accounts["us_db2"]; certificate &&
		demands != w.Hosts["db2"].Certificate() {
		t.Errorf("the account demands the %s, and it has the %s", demands,
			w.Hosts["db2"].Certificate())
	}
	if conn.IOErrno != 0 || conn.Certificate != certificate {
		t.Errorf("it signs in with a certificate: %v; %d %s", conn.Certificate, conn.IOErrno,
			conn.IOError)
	}
}

// passwords has agents of an earlier version on both hosts, or none.
func passwords(w *world, on bool) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	for _, h := range w.Hosts {
		h.Passwords = on
	}
}

// withPassword is a world with a replica that was made while its primary's agent knew passwords
// alone.
func withPassword(t *testing.T) (*world, *process) {
	t.Helper()
	w, p := lab(t)
	passwords(w, true)
	p.Must(replica{Server: "db2", Source: "db1"})
	signsIn(t, w, false)
	return w, p
}

func TestAReplicaGetsANewCertificate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := withReplica(t)
		signsIn(t, w, true)
		mark := w.Mark()
		j := p.Must(rotation)
		signsIn(t, w, true)
		if h := w.Host("db2"); len(h.Renewals) != 1 || h.Reconnects != 1 {
			t.Errorf("renewed by %v, reconnected %d times\n%s", h.Renewals, h.Reconnects,
				states(j))
		}
		if ended := w.Host("db1").Ended; !slices.Equal(ended, []string{"us_db2"}) {
			t.Errorf("ended the sessions of %q", ended)
		}
		for _, effect := range w.Changes(mark) {
			if effect == "db2:StopReplication" || effect == "db2:ConfigureReplica" {
				t.Errorf("more than the IO thread was stopped: %s", effect)
			}
		}
	})
}

// Behind a gateway, and where the primary resolves names, the account is for whoever has the
// certificate: the address on record is not the one that it comes from.
func TestAReplicaThatIsSeenElsewhereSignsIn(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"192.0.2.99", "gateway.example.com"} {
		bubbles(t, from, func(t *testing.T) {
			w, p, _ := withReplica(t)
			w.Mu.Lock()
			w.Hosts["db2"].SeenAs = from
			w.Mu.Unlock()
			p.Must(rotation)
			signsIn(t, w, true)
		})
	}
}

// The account that it has is dropped once it has signed in as the new one, and not before.
func TestAnAccountStaysUntilTheNewOneIsProved(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{false, true} {
		bubbles(t, fmt.Sprintf("killed %v", killed), func(t *testing.T) {
			w, first, _ := withReplica(t)
			first.Stop()
			w.Mu.Lock()
			data := w.Hosts["db1"].Running.Disk.Data
			data.ComeFrom["us_db2"] = "192.0.2.7" // its address of before
			w.Mu.Unlock()
			p := w.Start()
			stayed, reached := "", make(chan struct{})
			p.Behind["EnsureReplicationAccount"] = func() {
				w.Mu.Lock()
				stayed = data.Others["us_db2"]
				w.Mu.Unlock()
				if killed {
					p.Kill()
				}
				close(reached)
			}
			p.Run()
			j := p.Ask(rotation)
			<-reached
			if killed {
				p = w.Start().Run()
			}
			succeeded(t, p.End(j.ID))
			signsIn(t, w, true)
			if stayed != "192.0.2.7" || data.Others["us_db2"] != "" {
				t.Errorf("it stayed: %q; it is left: %q", stayed, data.Others["us_db2"])
			}
		})
	}
}

// cancelledBehind is a rotation that is cancelled when a call has taken effect, as it ended.
func cancelledBehind(t *testing.T, p *process, method string) job.Job {
	t.Helper()
	reached, goOn := make(chan struct{}), make(chan struct{})
	p.Behind[method] = func() { close(reached); <-goOn }
	p.Run()
	j := p.Ask(rotation)
	<-reached
	if _, err := p.Engine.Cancel(t.Context(), j.ID, asTester); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	return p.End(j.ID)
}

// A job that ends once the certificate is new and the account demands the one of before, completes
// it: the next connection would be refused.
func TestCancelledBehindTheNewCertificate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first, _ := withReplica(t)
		first.Stop()
		cancelledBehind(t, w.Start(), "RenewCertificates")
		signsIn(t, w, true)
	})
}

// A certificate that nobody accepts any more breaks nothing: a new one heals it.
func TestARotationHealsAHandshakeThatFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := withReplica(t)
		w.Mu.Lock()
		w.Hosts["db2"].NotAccepted = true
		w.Mu.Unlock()
		p.Must(rotation)
		signsIn(t, w, true)
	})
}

func TestAReplicaMovesFromItsPasswordToACertificate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := withPassword(t)
		passwords(w, false)
		p.Must(rotation)
		signsIn(t, w, true)
	})
}

func TestAReplicaWithoutCertificatesGetsANewPassword(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := withPassword(t)
		before := w.Host("db1").Running.Disk.Data.Accounts["us_db2"]
		p.Must(rotation)
		signsIn(t, w, false)
		if h := w.Host("db1"); h.Running.Disk.Data.Accounts["us_db2"] == before {
			t.Error("it has the password of before")
		}
	})
}

// Whatever it is killed behind, the replica and its account come to the same credentials, and the
// certificates are renewed once.
func TestKilledWhileCredentialsAreRotated(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"RenewCertificates", "EnsureReplicationAccount",
		"StopReplication", "ConfigureReplica", "StartReplication"} {
		bubbles(t, "behind "+call, func(t *testing.T) {
			w, first := withPassword(t)
			first.Stop()
			passwords(w, false)
			p := w.Start()
			killed := make(chan struct{})
			p.Behind[call] = func() { p.Kill(); close(killed) }
			p.Run()
			j := p.Ask(rotation)
			<-killed
			succeeded(t, w.Start().Run().End(j.ID))
			signsIn(t, w, true)
			if h := w.Host("db2"); len(h.Renewals) != 1 {
				t.Errorf("renewed by %v", h.Renewals)
			}
		})
	}
}

// Cancelled between the account and the replica, it is completed, not left half done.
func TestCancelledWhileCredentialsAreRotated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first := withPassword(t)
		first.Stop()
		passwords(w, false)
		got := cancelledBehind(t, w.Start(), "EnsureReplicationAccount")
		if got.State != job.Cancelled && got.State != job.Succeeded {
			t.Errorf("%s\n%s", got.State, states(got))
		}
		signsIn(t, w, true)
	})
}

func TestARotationIsRefusedOfWhatIsNoReplica(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, p := lab(t)
		if err := (workflowtest.Rotation{Replica: "db1"}).Args().Check(t.Context(),
			p.Flow); err == nil {
			t.Error("a primary has credentials to rotate")
		}
	})
}

// A connection may take longer than an agent waits for it: each poll of the step that began it anew
// would keep the replica away for good.
func TestAReplicaFarAwayGetsNewCredentials(t *testing.T) {
	t.Parallel()
	for name, certificate := range map[string]bool{"certificate": true, "password": false} {
		bubbles(t, name, func(t *testing.T) {
			made := withPassword
			if certificate {
				made = func(t *testing.T) (*world, *process) {
					w, p, _ := withReplica(t)
					return w, p
				}
			}
			w, p := made(t)
			w.Mu.Lock()
			w.Hosts["db2"].Far = 80 * time.Second
			w.Mu.Unlock()
			time.Sleep(time.Hour) // it is served by now
			mark := w.Mark()
			j := p.Must(rotation)
			signsIn(t, w, certificate)
			for _, s := range j.Steps {
				if s.Attempts > 1 {
					t.Errorf("%s took %d attempts", s.Kind, s.Attempts)
				}
			}
			configured := 0
			for _, effect := range w.Changes(mark) {
				if effect == "db2:ConfigureReplica" {
					configured++
				}
			}
			if certificate && (w.Host("db2").Reconnects != 1 || configured > 0) ||
				!certificate && configured != 1 {
				t.Errorf("reconnected %d times, configured %d times",
					w.Host("db2").Reconnects, configured)
			}
		})
	}
}
