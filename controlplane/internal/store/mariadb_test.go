//go:build lab

package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
)

// TestMariaDB runs the suite on a real MariaDB: the one that UNDERSTUDY_STORE_DSN names (its user
// may make databases), or one that it starts for itself from the machine's mariadbd.
func TestMariaDB(t *testing.T) {
	cfg := server(t)
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	admin := sql.OpenDB(connector)
	t.Cleanup(func() { _ = admin.Close() })
	var n atomic.Int32
	t.Run("suite", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Open {
			name := fmt.Sprintf("understudy_test_%d_%d", os.Getpid(), n.Add(1))
			if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_, _ = admin.ExecContext(context.Background(),
					"DROP DATABASE "+name)
			})
			own := cfg.Clone()
			own.DBName = name
			return opener(store.Config{DSN: own.FormatDSN()})
		})
	})
}

func server(t *testing.T) *mysql.Config {
	dsn := os.Getenv("UNDERSTUDY_STORE_DSN")
	if dsn == "" {
		dsn, _ = startMariaDB(t)
	}
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// startMariaDB runs a server on a socket in a directory of its own until the test ends.
func startMariaDB(t *testing.T) (dsn string, process *os.Process) {
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
		<-ended
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

// TestMariaDBThatHangs stops a server as a starved host does: its kernel goes on accepting.
func TestMariaDBThatHangs(t *testing.T) {
	dsn, process := startMariaDB(t)
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE hangs"); err != nil {
		t.Fatal(err)
	}
	cfg.DBName, cfg.ReadTimeout = "hangs", 500*time.Millisecond
	st := opener(store.Config{DSN: cfg.FormatDSN(), Patience: time.Minute})(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	next := func() error {
		return st.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Next(ctx, "writes", 1)
			return err
		})
	}
	if err := next(); err != nil {
		t.Fatal(err)
	}
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var stopped syscall.WaitStatus // a signal that was sent takes effect later
	if _, err := syscall.Wait4(process.Pid, &stopped, syscall.WUNTRACED, nil); err != nil ||
		!stopped.Stopped() {
		t.Fatalf("MariaDB was not stopped: %v %v", stopped, err)
	}
	if err := next(); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("a write into a server that hangs: %v", err)
	}
	if err := process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for err = next(); errors.Is(err, job.ErrUnavailable); err = next() {
	}
	if err != nil {
		t.Errorf("a write once the server goes on: %v", err)
	}
}
