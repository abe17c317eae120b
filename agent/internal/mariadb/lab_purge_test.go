//go:build lab

package mariadb_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// A purge that another process's reservation overtakes deletes nothing that it keeps: the timer's
// program and a second agent change the reservations too.
func TestPurgeWaitsForAReservationThatIsMade(t *testing.T) {
	i := mariadbtest.Start(t, mariadbtest.Options{Root: roots(t)[0], Install: true,
		Timers: &timers{}})
	file := filepath.Join(i.Dir, "state", "reservations.json")
	i.Exec("CREATE DATABASE shop", "FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
	if _, err := i.Reservations.Reserve(t.Context(), "mine", time.Hour, ""); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.Reservations.Release(t.Context(), "mine"); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(file+".lock", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	purged := make(chan error, 1)
	go func() {
		_, err := i.Binlogs.Purge(t.Context(), "mariadb-bin.000002")
		purged <- err
	}()
	for !waited(t, lock) {
		select {
		case err := <-purged:
			t.Fatalf("the purge did not wait: %v", err)
		default:
		}
	}
	if err := os.WriteFile(file, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	lock.Close()
	err = <-purged
	wants(t, err, errorsv1.Reason_REASON_BINLOGS_NEEDED)
	if !strings.Contains(err.Error(), "reservation mine") {
		t.Error(err)
	}
}

// A binary log that was closed just now is needed for recovery for a moment more: a purge waits.
func TestPurgeRightAfterARotation(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true,
			Timers: &timers{}})
		i.Exec("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY)")
		for range 3 {
			i.Exec("INSERT INTO shop.t VALUES ()", "FLUSH BINARY LOGS",
				"INSERT INTO shop.t VALUES ()", "FLUSH BINARY LOGS")
			logs, _, err := i.Binlogs.List(t.Context(), "", 100)
			if err != nil {
				t.Fatal(err)
			}
			last := logs[len(logs)-1].File
			purged, err := i.Binlogs.Purge(t.Context(), last)
			if err != nil || len(purged) != len(logs)-1 {
				t.Fatalf("purged %v of %d logs: %v", purged, len(logs), err)
			}
		}
	})
}

// waited says whether somebody waits for the lock of a file.
func waited(t *testing.T, file *os.File) bool {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(locks) {
		if bytes.Contains(line, []byte(" -> ")) &&
			bytes.Contains(line, fmt.Appendf(nil, ":%d ", stat.Ino)) {
			return true
		}
	}
	return false
}
