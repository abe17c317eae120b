package main

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Probe is a writer that commits one row after the other on the primary and remembers the longest that a commit took.
type Probe struct {
	db     *sql.DB
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	longest time.Duration
	commits int64
	errs    []error
}

// StartProbe starts the writer.
func StartProbe(ctx context.Context, t target) (*Probe, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.DBName = "tcp", t.host+":3306", t.user, t.password, "sbtest"
	cfg.TLSConfig = "preferred"
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS probe (id BIGINT PRIMARY KEY, at DATETIME(6) NOT NULL)"); err != nil {
		return nil, fmt.Errorf("cannot start the probe on the primary: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &Probe{db: db, cancel: cancel, done: make(chan struct{})}
	go p.run(ctx)
	return p, nil
}

func (p *Probe) run(ctx context.Context) {
	defer close(p.done)
	for id := 0; ctx.Err() == nil; id++ {
		begin := time.Now()
		_, err := p.db.ExecContext(ctx, "INSERT INTO probe VALUES (?, NOW(6))", id)
		if ctx.Err() != nil {
			return
		}
		p.add(time.Since(begin), err)
	}
}

func (p *Probe) add(took time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.errs = append(p.errs, err)
		return
	}
	p.commits++
	p.longest = max(p.longest, took)
}

// Reset forgets the longest commit so far.
func (p *Probe) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.longest = 0
}

// Longest is the longest that a commit took since Reset.
func (p *Probe) Longest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.longest
}

// Stop ends the writer and returns how many rows it committed, and its first error.
func (p *Probe) Stop() (int64, error) {
	p.cancel()
	<-p.done
	p.db.Close()
	if len(p.errs) > 0 {
		return p.commits, fmt.Errorf("%d of the probe's commits failed, the first with: %w", len(p.errs), p.errs[0])
	}
	return p.commits, nil
}
