package store

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/go-sql-driver/mysql"
)

const (
	mariadbConns = 16
	// answerTime bounds one answer of a server, so that a node that hangs is noticed. Waits for
	// locks are shorter.
	answerTime = 10 * time.Second
	lockSecs   = 5
	// schemaTime bounds one statement that changes the schema.
	schemaTime = 10 * time.Minute
)

// openMariaDB connects to a MariaDB, or to a node of a Galera cluster, where every connection then
// waits for what other nodes committed before it reads.
func (s *Store) openMariaDB(ctx context.Context, dsn string) error {
	s.engine = mariadbEngine{}
	cfg, err := mariadbConfig(dsn)
	if err != nil {
		return err
	}
	cfg.Logger = driverLog{s.log}
	if err := prepareDatabase(ctx, cfg); err != nil {
		return err
	}
	if s.writers, err = mariadbDB(cfg, mariadbConns); err != nil {
		return err
	}
	s.readers = s.writers
	cfg = cfg.Clone()
	cfg.ReadTimeout = schemaTime
	s.schema, err = mariadbDB(cfg, 1)
	return err
}

// mariadbConfig bounds what the address does not bound by itself.
func mariadbConfig(dsn string) (*mysql.Config, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		// err may show the password
		return nil, errors.New(
			"the MariaDB address cannot be read: want user:password@tcp(host:port)/database")
	}
	if cfg.DBName == "" {
		return nil, errors.New("the MariaDB address names no database")
	}
	cfg.ClientFoundRows = true
	cfg.InterpolateParams = true
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	cfg.ReadTimeout = cmp.Or(cfg.ReadTimeout, answerTime)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, answerTime)
	cfg.Params = withParam(cfg.Params, "innodb_lock_wait_timeout", fmt.Sprint(lockSecs))
	return cfg, nil
}

func mariadbDB(cfg *mysql.Config, conns int) (*sql.DB, error) {
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxLifetime(10 * time.Minute)
	return db, nil
}

// prepareDatabase makes the database compare text byte for byte, as SQLite does, while it is still
// empty; and finds out about Galera.
func prepareDatabase(ctx context.Context, cfg *mysql.Config) error {
	db, err := mariadbDB(cfg, 1)
	if err != nil {
		return err
	}
	defer db.Close()
	var collation, wsrep string
	if err := db.QueryRowContext(ctx, "SELECT @@collation_database").Scan(&collation); err != nil {
		return fmt.Errorf("connect to MariaDB: %w", err)
	}
	var tables int
	const count = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()"
	if err := db.QueryRowContext(ctx, count).Scan(&tables); err != nil {
		return fmt.Errorf("look for tables: %w", err)
	}
	if collation != wantCollation && tables == 0 {
		if _, err := db.ExecContext(ctx, "ALTER DATABASE CHARACTER SET utf8mb4 COLLATE "+
			wantCollation); err != nil {
			return fmt.Errorf("set the database's collation: %w", err)
		}
	} else if collation != wantCollation {
		return fmt.Errorf(
			"database %s has tables and collation %s: it must be empty, or have collation %s",
			cfg.DBName, collation, wantCollation)
	}
	err = db.QueryRowContext(ctx, "SHOW VARIABLES LIKE 'wsrep_on'").Scan(new(string), &wsrep)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("look for Galera: %w", err)
	}
	if wsrep == "ON" {
		cfg.Params = withParam(cfg.Params, "wsrep_sync_wait", "1")
	}
	return nil
}

const wantCollation = "utf8mb4_nopad_bin"

func withParam(params map[string]string, key, value string) map[string]string {
	if params == nil {
		params = map[string]string{}
	}
	params[key] = value
	return params
}

// driverLog sends the driver's remarks to our log.
type driverLog struct{ log *slog.Logger }

// Print implements mysql.Logger.
func (d driverLog) Print(v ...any) { d.log.Debug("mariadb driver", "message", fmt.Sprint(v...)) }

type mariadbEngine struct{}

func (mariadbEngine) number(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

func (m mariadbEngine) again(err error) bool {
	switch m.number(err) {
	case 1213, // deadlock, or a lost certification on Galera, which may come as late as at COMMIT
		1205, // lock wait timeout
		1020: // record has changed since it was read
		return true
	}
	return false
}

func (m mariadbEngine) passing(err error) bool {
	switch m.number(err) {
	case 1021, 1030, 1114, // disk full
		1040, 1135, 1203, 1226, // too many connections
		1037, 1038, 1041, 1206, // out of memory, or of room for locks
		1047, 1053, 1317, 1927, // node not ready, shutting down, query or connection killed
		1180, 1181, // a commit or rollback failed: the node left the cluster
		1158, 1159, 1160, 1161, // network
		1290, 1836: // read-only
		return true
	}
	var network net.Error
	return errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, io.EOF) ||
		errors.As(err, &network)
}

func (m mariadbEngine) duplicate(err error) bool { return m.number(err) == 1062 }

// writeOptions let a transaction read what was committed while it waited for a row's lock.
func (mariadbEngine) writeOptions() *sql.TxOptions {
	return &sql.TxOptions{Isolation: sql.LevelReadCommitted}
}

func (mariadbEngine) readOptions() *sql.TxOptions { return &sql.TxOptions{ReadOnly: true} }

func (mariadbEngine) sizeQuery() string {
	return "SELECT CAST(COALESCE(SUM(data_length + index_length), 0) AS SIGNED) FROM " +
		"information_schema.tables WHERE table_schema = DATABASE()"
}
