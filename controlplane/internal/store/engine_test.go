package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestErrorsOfMariaDBHaveAMeaning(t *testing.T) {
	t.Parallel()
	number := func(n uint16) error { return &mysql.MySQLError{Number: n} }
	for err, want := range map[error][2]bool{ // again, passing
		number(1213):              {true, false},
		number(1205):              {true, false},
		number(1047):              {false, true}, // WSREP has not yet prepared node
		number(1180):              {false, true}, // the node left its cluster
		number(1181):              {false, true},
		number(1317):              {false, true}, // somebody killed the query
		number(1160):              {false, true},
		number(1135):              {false, true}, // no more threads
		number(1290):              {false, true},
		mysql.ErrInvalidConn:      {false, true}, // a time limit of the driver, too
		driver.ErrBadConn:         {false, true},
		io.ErrUnexpectedEOF:       {false, false},
		&net.OpError{Err: io.EOF}: {false, true},
		number(1062):              {false, false},
		number(1064):              {false, false},
		number(1045):              {false, false}, // a wrong password does not pass
	} {
		err = fmt.Errorf("commit a transaction: %w", err)
		m := mariadbEngine{}
		if got := [2]bool{m.again(err), m.passing(err)}; got != want {
			t.Errorf("%v: again, passing = %v, want %v", err, got, want)
		}
	}
}

func TestEveryAnswerOfMariaDBHasALimit(t *testing.T) {
	t.Parallel()
	cfg, err := mariadbConfig("u:p@tcp(127.0.0.1:3306)/records")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Timeout == 0 || cfg.ReadTimeout == 0 || cfg.WriteTimeout == 0 {
		t.Errorf("no limit: %+v", cfg)
	}
	if wait := time.Duration(lockSecs) * time.Second; wait >= cfg.ReadTimeout ||
		cfg.Params["innodb_lock_wait_timeout"] != fmt.Sprint(lockSecs) {
		t.Errorf("a wait for a lock of %s, an answer's limit of %s", wait, cfg.ReadTimeout)
	}
	cfg, err = mariadbConfig("u:p@tcp(127.0.0.1:3306)/records?readTimeout=1s")
	if err != nil || cfg.ReadTimeout != time.Second {
		t.Errorf("the address's own limit: %v, %v", cfg.ReadTimeout, err)
	}
}

// TestAServerThatHangsIsNoticed has a kernel that accepts connections and a server behind it that
// was stopped.
func TestAServerThatHangsIsNoticed(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dsn := "u:p@tcp(" + listener.Addr().String() + ")/records?readTimeout=20ms"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = Open(ctx, Config{DSN: dsn, Patience: time.Millisecond})
	if !errors.Is(err, job.ErrUnavailable) || ctx.Err() != nil {
		t.Errorf("opened a store that hangs: %v", err)
	}
}

func TestASchemaOfANewerProgramIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "u.db")
	st, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	newest, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.writers.ExecContext(t.Context(),
		"INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, 1)",
		newest+1); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st, err = Open(t.Context(), Config{Path: path})
	if err == nil {
		_ = st.Close()
	}
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_STORE_MISMATCH ||
		!strings.Contains(err.Error(), fmt.Sprint("version ", newest+1)) ||
		!strings.Contains(err.Error(), fmt.Sprint("up to ", newest)) {
		t.Errorf("opened a schema of a newer program: %v", err)
	}
}

// A wait for a connection says what it waited for.
func TestAWaitForTheStoreSaysForWhat(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		max, inUse int
		want       string
	}{{1, 1, "locked by other writers"}, {16, 3, "not answered"}, {16, 16, "all of its 16"}} {
		got := waitedFor(sql.DBStats{MaxOpenConnections: test.max, InUse: test.inUse})
		if !strings.Contains(got, test.want) {
			t.Errorf("%d of %d in use: %q, want %q", test.inUse, test.max, got, test.want)
		}
	}
}

// MariaDB commits each statement of a migration: one that was interrupted is begun again, at any.
func TestTokensOfBeforeAreKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "u.db")
	open := func() *Store {
		st, err := Open(t.Context(), Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	st := open()
	for _, query := range []string{
		"INSERT INTO join_tokens VALUES ('one', 'db1', 1, 2, '', 0), ('two', 'db2', 1, 2, 'k', 1)",
		"INSERT INTO tokens VALUES ('one', 'db1', '', 1, 2, '', 0, 0)",
		"DELETE FROM goose_db_version WHERE version_id >= 4"} {
		if _, err := st.writers.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = open()
	var all []inventory.JoinToken
	err := st.Read(t.Context(), func(ctx context.Context, tx *Tx) (err error) {
		all, err = tx.JoinTokens().All(ctx, nil)
		return err
	})
	if err := errors.Join(err, st.Close()); err != nil || len(all) != 2 ||
		all[0].Server != "db1" || all[1].UsedBy != "k" {
		t.Errorf("%+v %v", all, err)
	}
}
