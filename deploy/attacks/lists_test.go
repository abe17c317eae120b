//go:build lab

package attacks

import (
	"crypto/tls"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/understudy-db/understudy/deploy/stack"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Somebody who asks for the longest lists, again and again.

const longEvents = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
INSERT INTO events SELECT 'long-' || i, i, 'mallory', 'noted', 'servers/db1', '', '', '',
hex(randomblob(1024)) FROM n`

func fill(t *testing.T, s *stack.Stack) {
	t.Helper()
	if out, err := exec.Command("sqlite3", filepath.Join(s.Config().Dir, "understudy.db"),
		".timeout 5000", longEvents).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestCallersKeyLongListsThatNobodyReads(t *testing.T) {
	s := plane(t)
	fill(t, s)
	certificate := key(t, s)
	grows(t, s, func() {
		flood(s, certificate, 10_000, unread(t, cpv1.JobService_ListEvents_FullMethodName,
			&cpv1.ListEventsRequest{PageSize: 500}))
	})
}

// TestCallersKeyLongLists reads what it asks for, and is answered.
func TestCallersKeyLongLists(t *testing.T) {
	s := plane(t)
	fill(t, s)
	secured := credentials.NewTLS(&tls.Config{InsecureSkipVerify: true,
		Certificates: []tls.Certificate{*key(t, s)}})
	conn, err := grpc.NewClient(s.Address(), grpc.WithTransportCredentials(secured))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	grows(t, s, func() {
		var all sync.WaitGroup
		for range 90 {
			all.Go(func() {
				for range 5 {
					_, err := cpv1.NewJobServiceClient(conn).ListEvents(t.Context(),
						&cpv1.ListEventsRequest{PageSize: 500})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	})
}
