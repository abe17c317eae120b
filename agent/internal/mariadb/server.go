// Package mariadb knows the MariaDB server of this host: every SQL statement and every option file
// that the agent writes is here. It connects to the unix socket as the socket-authenticated root
// and stores no password. Changing calls observe first, act on the difference alone, and report
// what they changed.
package mariadb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/systemd"
)

// Unit is MariaDB's service.
const Unit = "mariadb.service"

// Exec runs the tools that come with MariaDB; *hostexec.Runner is one.
type Exec interface {
	Run(ctx context.Context, command hostexec.Command) (hostexec.Result, error)
	Lines(ctx context.Context, command hostexec.Command, each func(line []byte) error) error
}

// Timers arms deadlines that outlive the agent: the host runs a program of ours when the time is
// over. *systemd.Manager is one.
type Timers interface {
	StartTransientTimer(ctx context.Context, name string, after time.Duration,
		spec systemd.TransientSpec) error
	StopTransient(ctx context.Context, name string) error
}

// TLSFiles are the files of a certificate in PEM.
type TLSFiles struct{ CA, Cert, Key string }

// Config has what a Server needs.
type Config struct {
	// Exec runs MariaDB's tools. Required.
	Exec Exec
	// Timers ends binlog reservations when the agent cannot. Without it ReserveBinlogs is refused.
	Timers Timers
	// Socket is MariaDB's unix socket; default /run/mysqld/mysqld.sock.
	Socket string
	// Datadir is where the datadir is when the options do not say; default /var/lib/mysql.
	Datadir string
	// Datadirs are the datadirs that PrepareDatadir may touch; default Datadir alone.
	Datadirs []string
	// DropIn is the one option file that is ours; default
	// /etc/mysql/mariadb.conf.d/zz-understudy.cnf.
	DropIn string
	// OptionsDir is where MariaDB's option files are, to tell which one says what; default
	// /etc/mysql.
	OptionsDir string
	// DefaultsFile replaces the option files that MariaDB reads by itself; empty on a real host.
	DefaultsFile string
	// TLS is where the agent keeps the certificate that it got for MariaDB.
	TLS TLSFiles
	// TLSDir is where MariaDB reads it: ca.pem, cert.pem, key.pem; default /etc/mysql/understudy.
	TLSDir string
	// StateDir is the agent's own; default /var/lib/understudy-agent.
	StateDir string
	// Program is the agent's own path, for timers; default /usr/bin/understudy-agent.
	Program string
	// User is the user that MariaDB runs as; default mysql.
	User string
	// Quiesced is true while MariaDB is quiesced; default never.
	Quiesced func() bool
	// Log gets one line a transition; default slog.Default().
	Log *slog.Logger
}

// Server is the MariaDB server of this host. It is safe for concurrent use.
type Server struct {
	config Config
	db     *sql.DB
	log    *slog.Logger
	// changes serialises what changes replication, options and datadir.
	changes  sync.Mutex
	slow     slowFacts
	reserved *reservationFile
	// binary and uuids spare GetStatus a program a call.
	binary binaryFacts
	uuids  sync.Map // unique mount id -> UUID: it cannot change while it is mounted
}

// New makes a Server. It connects when first asked for something.
func New(config Config) (*Server, error) {
	if config.Exec == nil {
		return nil, errors.New("cannot make a MariaDB server: no runner for its tools")
	}
	config.fill()
	for _, path := range []string{config.Socket, config.Datadir, config.DropIn, config.OptionsDir,
		config.TLSDir, config.StateDir} {
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf("cannot make a MariaDB server: %q is no absolute path", path)
		}
	}
	connector, err := connector(config.Socket)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(2)
	db.SetConnMaxIdleTime(30 * time.Second)
	s := &Server{config: config, db: db, log: config.Log}
	s.reserved = &reservationFile{path: filepath.Join(config.StateDir, "reservations.json")}
	return s, nil
}

func (c *Config) fill() {
	fallback := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	fallback(&c.Socket, "/run/mysqld/mysqld.sock")
	fallback(&c.Datadir, "/var/lib/mysql")
	fallback(&c.DropIn, "/etc/mysql/mariadb.conf.d/zz-understudy.cnf")
	fallback(&c.OptionsDir, "/etc/mysql")
	fallback(&c.TLSDir, "/etc/mysql/understudy")
	fallback(&c.StateDir, "/var/lib/understudy-agent")
	fallback(&c.Program, "/usr/bin/understudy-agent")
	fallback(&c.User, "mysql")
	if c.Datadirs == nil {
		c.Datadirs = []string{c.Datadir}
	}
	if c.Quiesced == nil {
		c.Quiesced = func() bool { return false }
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
}

// Close closes the connections.
func (s *Server) Close() error { return s.db.Close() }

// connector makes connections whose quoting rules are known: sql_mode is empty, whatever the
// server's own is.
func connector(socket string) (driver.Connector, error) {
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "unix", socket
	config.Timeout = 2 * time.Second
	config.ClientFoundRows = true
	config.Logger = &mysql.NopLogger{}
	config.Params = map[string]string{"sql_mode": "''", "time_zone": "'+00:00'"}
	config.ConnectionAttributes = "program_name:understudy-agent"
	made, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("cannot prepare connections to MariaDB: %w", err)
	}
	return made, nil
}
