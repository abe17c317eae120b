//go:build lab

package e2e

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// TestLongTheRootIsReplacedUnderLoad replaces the root of the CA while a primary is written to, a
// replica follows it and another one is made. No call, no job and no write fails, replication goes
// on, and what connects afterwards shows and believes certificates of the new root alone.
func TestLongTheRootIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	l := newLab(t, "root")
	l.run("server", "create", "db1")
	writer := l.writer("db1")
	l.run("replica", "create", "db2", "--of", "db1")
	account := l.sql("db1", "SHOW CREATE USER us_db2@'"+l.server("db2").GetAddress()+"'")
	before := l.root()
	calls := callAgain(t, l)
	made := make(chan string, 1)
	go func() {
		out, err := l.try("replica", "create", "db3", "--of", "db1", "--verify", "full")
		if err != nil {
			out = err.Error() + "\n" + out
		} else {
			out = ""
		}
		made <- out
	}()
	for range 3 {
		awaitTrue(t, 4*time.Minute, "nobody lags", func() bool {
			out, err := l.try("ca", "rotate")
			if err != nil && !strings.Contains(out, "not all have a certificate of this phase") {
				t.Fatalf("%v\n%s", err, out)
			}
			return err == nil
		})
		t.Log(l.run("ca", "status"))
	}
	if out := <-made; out != "" {
		t.Fatalf("a replica that is made meanwhile: %s", out)
	}
	if err := calls(); err != nil {
		t.Errorf("a call failed: %v", err)
	}
	if l.root() == before {
		t.Error("the root is the one of before")
	}
	if _, err := writer.Stop(); err != nil {
		t.Errorf("a write failed: %v", err)
	}
	for _, replica := range []string{"db2", "db3"} {
		l.sql(replica, "STOP REPLICA IO_THREAD; START REPLICA IO_THREAD")
		l.same("db1", replica)
		if s := l.server(replica); s.GetState() != cpv1.Server_STATE_READY {
			t.Errorf("%s is %s", replica, s.GetState())
		}
	}
	if now := l.sql("db1", "SHOW CREATE USER us_db2@'"+l.server("db2").GetAddress()+
		"'"); now != account {
		t.Errorf("the account was changed: %s\n%s", account, now)
	}
}

// root is the pin of the one root.
func (l *lab) root() string {
	l.t.Helper()
	answer, err := cpv1.NewEnrollmentServiceClient(l.conn).GetAuthorityStatus(l.t.Context(),
		&cpv1.GetAuthorityStatusRequest{})
	if err != nil {
		l.t.Fatal(err)
	}
	return answer.GetStatus().GetRoots()[0].GetPin()
}

// callAgain calls the control plane over a new connection again and again until it is stopped, and
// then answers with the first call that failed.
func callAgain(t *testing.T, l *lab) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	var failed error
	done.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for failed == nil {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			conn, err := l.Dial()
			if err != nil {
				failed = err
				return
			}
			_, err = cpv1.NewServerServiceClient(conn).ListServers(ctx, &cpv1.ListServersRequest{})
			conn.Close()
			if ctx.Err() == nil {
				failed = err
			}
		}
	})
	return func() error {
		cancel()
		done.Wait()
		return failed
	}
}
