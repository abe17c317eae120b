// Package mariadb knows the MariaDB server of this host: every SQL statement and every option file
// that the agent writes is here. It connects to the unix socket as the socket-authenticated root
// and stores no password. Changing calls observe first, act on the difference alone, and report
// what they changed.
package mariadb

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/systemd"
)

// Unit is MariaDB's service.
const Unit = "mariadb.service"

// DefaultDatadir is where the datadir is unless options say otherwise.
const DefaultDatadir = "/var/lib/mysql"

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

// Config has what a Host needs.
type Config struct {
	// Exec runs MariaDB's tools. Required.
	Exec Exec
	// Units has the files of MariaDB's unit; nil where no unit runs MariaDB.
	Units UnitFiles
	// Timers ends binlog reservations when the agent cannot. Required to reserve.
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
	// Root is the root directory of MariaDB's programs; empty on a real host.
	Root string
	// DefaultsFile replaces the option files that MariaDB reads by itself; empty on a real host.
	DefaultsFile string
	// TLS is where the agent keeps the certificate that it got for MariaDB.
	TLS TLSFiles
	// TLSDir is where MariaDB reads it: ca.pem, cert.pem, key.pem; default /etc/mysql/understudy.
	TLSDir string
	// StateDir is the agent's own; default /var/lib/understudy-agent.
	StateDir string
	// RelayDir is where MariaDB's upgrade finds a socket that signs it in, as long as it runs, in a
	// directory of root's; default /run/understudy-upgrade.
	RelayDir string
	// Program is the agent's own path, for timers; default /usr/bin/understudy-agent.
	Program string
	// User is the user that MariaDB runs as; default mysql.
	User string
	// Quiesced is true while MariaDB is quiesced; default never.
	Quiesced func() bool
	// Observed is called with each status that was read, and how long that took; may be nil.
	Observed func(status Status, took time.Duration)
	// Begins is called when a copy becomes a replica, before it follows its primary; may be nil.
	Begins func() error
	// Log gets one line a transition; default slog.Default().
	Log *slog.Logger
}

// Host is MariaDB on this host, by topic.
type Host struct {
	Server        *Server
	Replica       *Replica
	Binlogs       *Binlogs
	Reservations  *Reservations
	Configuration *Configuration
	Datadirs      *Datadirs

	quiesced func() bool
	observed func(status Status, took time.Duration)
	binary   binary
	slow     slowFacts
	history  histories
	unheld   atomic.Pointer[Live] // the latest look at a MariaDB that was not held
}

// reconnect is how soon it is noticed that MariaDB would not let the agent in again.
const reconnect = 10 * time.Second

// Server is the running server, reached over its socket. It is safe for concurrent use.
type Server struct {
	db      *sql.DB
	volumes *volumes
	// tls is what MariaDB reads: its certificate and key, and the CA that it verifies with.
	tls TLSFiles
	// changes serialises what changes replication, options and datadir.
	changes sync.Mutex
	listed  tableList
}

// New makes a Host. It connects when first asked for something.
func New(config Config) (*Host, error) {
	if config.Exec == nil {
		return nil, errors.New("cannot make a MariaDB server: no runner for its tools")
	}
	config.fill()
	for _, path := range []string{config.Socket, config.Datadir, config.DropIn, config.OptionsDir,
		config.TLSDir, config.StateDir, config.RelayDir} {
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
	db.SetConnMaxLifetime(reconnect)
	return config.host(&Server{db: db, volumes: &volumes{exec: config.Exec}}), nil
}

// host makes the parts, each with the settings that it needs.
func (c Config) host(server *Server) *Host {
	installed := TLSFiles{CA: filepath.Join(c.TLSDir, "ca.pem"),
		Cert: filepath.Join(c.TLSDir, "cert.pem"), Key: filepath.Join(c.TLSDir, "key.pem")}
	server.tls = installed
	reservations := &Reservations{server: server, timers: c.Timers, program: c.Program,
		file:   reservationFile{filepath.Join(c.StateDir, "reservations.json")},
		dropIn: dropIn(c.DropIn), units: c.Units, quiesced: c.Quiesced, log: c.Log}
	options := &options{exec: c.Exec, defaultsFile: c.DefaultsFile, dir: c.OptionsDir,
		dropIn: dropIn(c.DropIn), defaultDatadir: c.Datadir}
	host := &Host{Server: server,
		Replica: &Replica{server: server, quiesced: c.Quiesced,
			mark:    filepath.Join(c.StateDir, "prepared.json"),
			follows: filepath.Join(c.StateDir, "followed.json"), dropIn: dropIn(c.DropIn),
			begins: c.Begins, log: c.Log},
		Binlogs:      &Binlogs{server: server, reservations: reservations, options: options},
		Reservations: reservations,
		Configuration: &Configuration{server: server, options: options, units: c.Units,
			reservations: reservations,
			certificate:  certificate{from: c.TLS, to: installed, user: c.User}, log: c.Log},
		Datadirs: &Datadirs{server: server, exec: c.Exec, socket: c.Socket, user: c.User,
			relayDir: c.RelayDir, options: options, root: c.Root,
			allowed: c.Datadirs, fallback: c.Datadir},
		quiesced: c.Quiesced, observed: c.Observed, binary: binary{exec: c.Exec},
		history: histories{file: filepath.Join(c.StateDir, "history.json"), log: c.Log},
	}
	host.Datadirs.made = host.history.mayBegin
	return host
}

func (c *Config) fill() {
	c.Socket = cmp.Or(c.Socket, "/run/mysqld/mysqld.sock")
	c.Datadir = cmp.Or(c.Datadir, DefaultDatadir)
	c.DropIn = cmp.Or(c.DropIn, "/etc/mysql/mariadb.conf.d/zz-understudy.cnf")
	c.OptionsDir = cmp.Or(c.OptionsDir, "/etc/mysql")
	c.TLSDir = cmp.Or(c.TLSDir, "/etc/mysql/understudy")
	c.StateDir = cmp.Or(c.StateDir, "/var/lib/understudy-agent")
	c.RelayDir = cmp.Or(c.RelayDir, "/run/understudy-upgrade")
	c.Program = cmp.Or(c.Program, "/usr/bin/understudy-agent")
	c.User = cmp.Or(c.User, "mysql")
	c.Log = cmp.Or(c.Log, slog.Default())
	if c.Datadirs == nil {
		c.Datadirs = []string{c.Datadir}
	}
	if c.Quiesced == nil {
		c.Quiesced = func() bool { return false }
	}
	if c.Begins == nil {
		c.Begins = func() error { return nil }
	}
	if c.Observed == nil {
		c.Observed = func(Status, time.Duration) {}
	}
}

// Close closes the connections.
func (s *Server) Close() error { return s.db.Close() }

// connector makes connections whose sessions have our own settings, whatever the server's are.
func connector(socket string) (driver.Connector, error) {
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "unix", socket
	config.DialFunc = dialSocket
	config.Timeout = 2 * time.Second
	config.ClientFoundRows = true
	config.Logger = &mysql.NopLogger{}
	config.Collation = "utf8mb4_general_ci"
	config.Params = sessionSettings()
	config.ConnectionAttributes = "program_name:understudy-agent"
	made, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("cannot prepare connections to MariaDB: %w", err)
	}
	return made, nil
}
