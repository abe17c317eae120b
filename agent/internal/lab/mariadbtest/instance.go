//go:build lab

package mariadbtest

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/testport"
)

// Options say what instance is wanted.
type Options struct {
	// Root is where its binaries are; default the host.
	Root string
	// ServerID is its server_id; default 1.
	ServerID int
	// Volume is a directory to use for the datadir, "mysql" below it; default one of its own.
	Volume string
	// Install makes a new datadir. Otherwise one must be there, or come before Start.
	Install bool
	// Config is added to its base option file.
	Config string
	// Timers ends reservations.
	Timers mariadb.Timers
	// CA signs its certificate; nil goes without TLS.
	CA *CA
}

// Instance is a MariaDB server of a test.
type Instance struct {
	*mariadb.Host
	// DB is a connection as root.
	DB *sql.DB
	// Dir has all its files; Datadir, Volume and Socket are below it or given.
	Dir, Datadir, Volume, Socket string
	Port                         int
	Config                       mariadb.Config
	// Args are further arguments of its command line, from its next Run on.
	Args []string
	// Env are further variables of its environment, from its next Run on.
	Env      []string
	root     string
	contract *consistentpoint.Contract // of the datadir, where it is a copy
	ca       *CA
	process  *os.Process
	exited   chan struct{}
	t        testing.TB
}

// New makes an instance that does not run yet.
func New(t testing.TB, o Options) *Instance {
	t.Helper()
	if o.Root == "" {
		o.Root = "/"
	}
	if o.ServerID == 0 {
		o.ServerID = 1
	}
	dir, err := os.MkdirTemp("/var/tmp", "us")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	if o.Volume == "" {
		o.Volume = volume(t, filepath.Join(dir, "vol"))
	}
	port, err := testport.Free()
	must(t, err)
	i := &Instance{Dir: dir, Volume: o.Volume, Datadir: filepath.Join(o.Volume, "mysql"),
		Socket: filepath.Join(dir, "s"), root: o.Root, ca: o.CA,
		Port: port, t: t}
	for _, d := range []string{i.Datadir, filepath.Join(dir, "conf.d"), filepath.Join(dir, "state"),
		filepath.Join(dir, "tls"), filepath.Join(dir, "cert"), filepath.Join(dir, "layer")} {
		must(t, os.MkdirAll(d, 0o755))
	}
	base := fmt.Sprintf(
		"[mariadbd]\nuser=root\ndatadir=%s\nsocket=%s\npid_file=%s/pid\nport=%d\n"+
			"bind_address=127.0.0.1\nserver_id=%d\nlog_error=%s/error.log\n"+
			"log_bin=mariadb-bin\ninnodb_log_file_size=16M\ninnodb_buffer_pool_size=64M\n%s\n"+
			"!includedir %s/conf.d/\n",
		i.Datadir, i.Socket, dir, i.Port, o.ServerID, dir, o.Config, dir)
	must(t, os.WriteFile(filepath.Join(dir, "my.cnf"), []byte(base), 0o644))
	i.Config = mariadb.Config{
		Exec: tools{i}, Socket: i.Socket, Datadir: i.Datadir,
		DropIn: filepath.Join(dir, "conf.d/zz-understudy.cnf"), OptionsDir: dir,
		DefaultsFile: filepath.Join(dir, "my.cnf"), Root: o.Root, TLSDir: filepath.Join(dir, "tls"),
		StateDir: filepath.Join(dir, "state"), RelayDir: filepath.Join(dir, "up"), User: "root",
		Timers: o.Timers, Log: slog.New(slog.NewTextHandler(testLog{t},
			&slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	if o.CA != nil {
		i.Config.TLS = o.CA.Issue(t, filepath.Join(dir, "cert"))
	}
	i.Reopen()
	if o.Install {
		_, err := i.Datadirs.Prepare(t.Context(), mariadb.DatadirPlan{Initialize: true})
		must(t, err)
	}
	return i
}

// Start is New and Run.
func Start(t testing.TB, o Options) *Instance {
	t.Helper()
	i := New(t, o)
	i.Run()
	return i
}

// Reopen makes the Server anew, as an agent that was restarted does.
func (i *Instance) Reopen() {
	i.t.Helper()
	server, err := mariadb.New(i.Config)
	must(i.t, err)
	i.t.Cleanup(func() { server.Server.Close() })
	i.Host = server
}

// Run starts it and waits until it answers.
func (i *Instance) Run() {
	i.t.Helper()
	process, err := i.spawn("mariadbd", append([]string{"--defaults-file=" +
		i.Config.DefaultsFile}, i.Args...)...)
	must(i.t, err)
	exited := make(chan struct{})
	go func() { _, _ = process.Wait(); close(exited) }()
	i.process, i.exited = process, exited
	i.t.Cleanup(i.Kill)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	go func() { <-exited; cancel() }()
	if err := i.Server.AwaitAnswer(ctx); err != nil {
		i.t.Fatalf("%v\n%s", err, i.ErrorLog())
	}
	if i.DB == nil {
		config := mysql.NewConfig()
		config.User, config.Net, config.Addr, config.MultiStatements = "root", "unix", i.Socket,
			true
		connector, err := mysql.NewConnector(config)
		must(i.t, err)
		i.DB = sql.OpenDB(connector)
		i.t.Cleanup(func() { i.DB.Close() })
	}
}

// RunToItsEnd runs it with arguments that make it end by itself.
func (i *Instance) RunToItsEnd(args ...string) {
	i.t.Helper()
	process, err := i.spawn("mariadbd", append([]string{"--defaults-file=" + i.Config.DefaultsFile},
		args...)...)
	must(i.t, err)
	_, err = process.Wait() // what it says is in its log
	must(i.t, err)
}

// ErrorLog is what it logged.
func (i *Instance) ErrorLog() string {
	text, _ := os.ReadFile(filepath.Join(i.Dir, "error.log"))
	return string(text)
}

// As are connections as another user without a password.
func (i *Instance) As(t testing.TB, user string) *sql.DB {
	t.Helper()
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr, config.MultiStatements = user, "unix", i.Socket, true
	connector, err := mysql.NewConnector(config)
	must(t, err)
	return sql.OpenDB(connector)
}

// Stop ends it cleanly; stopped already is fine.
func (i *Instance) Stop() { i.end(syscall.SIGTERM) }

// Kill ends it at once.
func (i *Instance) Kill() { i.end(syscall.SIGKILL) }

// PID is its process.
func (i *Instance) PID() int { return i.process.Pid }

func (i *Instance) end(signal syscall.Signal) {
	if i.process == nil {
		return
	}
	_ = i.process.Signal(signal)
	select {
	case <-i.exited:
	case <-time.After(60 * time.Second):
		i.t.Errorf("mariadbd did not end")
	}
}

// Exec runs statements as root.
func (i *Instance) Exec(statements ...string) {
	i.t.Helper()
	for _, s := range statements {
		if _, err := i.DB.ExecContext(context.Background(), s); err != nil {
			i.t.Fatalf("%s: %v", s, err)
		}
	}
}

// Value is the first column of the first row.
func (i *Instance) Value(query string) string {
	i.t.Helper()
	var value sql.NullString
	if err := i.DB.QueryRowContext(context.Background(), query).Scan(&value); err != nil {
		i.t.Fatalf("%s: %v", query, err)
	}
	return value.String
}

// volume is a filesystem of its own, as a datadir has it: what lies beside the datadir is not to be
// on the host's root.
func volume(t testing.TB, path string) string {
	t.Helper()
	must(t, os.Mkdir(path, 0o755))
	must(t, unix.Mount("volume", path, "tmpfs", 0, "size=2G,mode=0755"))
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Errorf("umount %s: %v", path, err)
		}
	})
	return path
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testLog keeps log lines with their test.
type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	fmt.Fprint(os.Stderr, "    ", l.t.Name(), ": ", string(p))
	return len(p), nil
}
