package stack

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Account is a MariaDB account that may do everything in one schema.
type Account struct {
	// Host is the server's address.
	Host string
	// Socket is the server's socket as this machine sees it; when given it is used instead of Host.
	Socket string
	// User and Password are the account's.
	User, Password string
	// Schema is the one that it may use.
	Schema string
}

// NewAccount makes a schema and an account for it on a host of the lab.
func (s *Stack) NewAccount(ctx context.Context, host, address, schema string) (Account, error) {
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return Account{}, err
	}
	a := Account{Host: address, User: schema, Password: hex.EncodeToString(secret), Schema: schema}
	_, err := s.SQL(ctx, host, fmt.Sprintf("CREATE DATABASE IF NOT EXISTS %[1]s; CREATE OR "+
		"REPLACE USER %[2]s@'%%' IDENTIFIED BY '%[3]s'; GRANT ALL ON %[1]s.* TO %[2]s@'%%';",
		a.Schema, a.User, a.Password))
	return a, err
}

// Writer commits one row after the other on a primary and remembers the longest that a commit took.
type Writer struct {
	db     *sql.DB
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	longest time.Duration
	commits int64
	errs    []error
}

// Open makes a pool of connections as the account.
func (a Account) Open() (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.DBName = "tcp", a.Host+":3306", a.User, a.Password,
		a.Schema
	cfg.TLSConfig = "preferred"
	if a.Socket != "" {
		cfg.Net, cfg.Addr, cfg.TLSConfig = "unix", a.Socket, ""
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// StartWriter starts a writer that begins a commit at each beat of pace and goes on until Stop.
func StartWriter(ctx context.Context, a Account, pace time.Duration) (*Writer, error) {
	db, err := a.Open()
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx,
		"CREATE TABLE IF NOT EXISTS probe (id BIGINT PRIMARY KEY, "+
			"at DATETIME(6) NOT NULL)"); err != nil {
		return nil, fmt.Errorf("cannot start the writer on %s: %w", a.Host, err)
	}
	var next int64
	if err := db.QueryRowContext(ctx,
		"SELECT COALESCE(MAX(id) + 1, 0) FROM probe").Scan(&next); err != nil {
		return nil, fmt.Errorf("cannot start the writer on %s: %w", a.Host, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &Writer{db: db, cancel: cancel, done: make(chan struct{})}
	go w.run(ctx, pace, next)
	return w, nil
}

func (w *Writer) run(ctx context.Context, pace time.Duration, next int64) {
	defer close(w.done)
	beat := time.NewTicker(pace)
	defer beat.Stop()
	for id := next; ctx.Err() == nil; id++ {
		<-beat.C
		begin := time.Now()
		_, err := w.db.ExecContext(ctx, "INSERT INTO probe VALUES (?, NOW(6))", id)
		if ctx.Err() != nil {
			return
		}
		w.add(time.Since(begin), err)
	}
}

func (w *Writer) add(took time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.errs = append(w.errs, err)
		return
	}
	w.commits++
	w.longest = max(w.longest, took)
}

// Reset forgets the longest commit so far.
func (w *Writer) Reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.longest = 0
}

// Longest is the longest that a commit took since Reset.
func (w *Writer) Longest() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.longest
}

// Commits is how many rows it has committed.
func (w *Writer) Commits() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.commits
}

// Stop ends the writer and returns how many rows it committed, and its first error.
func (w *Writer) Stop() (int64, error) {
	w.cancel()
	<-w.done
	w.db.Close()
	if len(w.errs) > 0 {
		return w.commits, fmt.Errorf("%d of the writer's commits failed, the first with: %w",
			len(w.errs), w.errs[0])
	}
	return w.commits, nil
}
