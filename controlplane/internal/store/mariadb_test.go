//go:build lab

package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
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
		dsn, _ = storetest.MariaDB(t)
	}
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestMariaDBThatHangs stops a server as a starved host does: its kernel goes on accepting.
func TestMariaDBThatHangs(t *testing.T) {
	dsn, process := storetest.MariaDB(t)
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
