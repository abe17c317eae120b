//go:build lab

package storetest

import (
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// MariaDB runs a server on a socket in a directory of its own until the test ends.
func MariaDB(t testing.TB) (dsn string, process *os.Process) {
	t.Helper()
	dir, err := os.MkdirTemp("", "us") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	data, socket := filepath.Join(dir, "data"), filepath.Join(dir, "s")
	out, err := exec.CommandContext(t.Context(), "mariadb-install-db", "--no-defaults",
		"--user=root", "--datadir="+data,
		"--auth-root-authentication-method=normal", "--skip-test-db").CombinedOutput()
	if err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	var log strings.Builder
	cmd := exec.Command("/usr/sbin/mariadbd", "--no-defaults", "--user=root", "--datadir="+data,
		"--socket="+socket, "--skip-networking",
		"--pid-file="+filepath.Join(dir, "pid"), "--innodb-flush-log-at-trx-commit=2")
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Logf("mariadbd ended: %v", err)
		}
	})
	dsn = "root@unix(" + socket + ")/"
	for deadline := time.Now().Add(2 * time.Minute); !answers(dsn); {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("mariadbd ended: %v\n%s", err, log.String())
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("mariadbd does not answer\n%s", log.String())
		}
	}
	return dsn, cmd.Process
}

func answers(dsn string) bool {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return false
	}
	defer db.Close()
	return db.Ping() == nil
}
