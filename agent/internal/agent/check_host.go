package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/mount"
	"github.com/understudy-db/understudy/proto/size"
)

const (
	// leastRoom lets the agent keep its identity, epochs and reservations; below lowRoom a host is
	// about to be in trouble anyway.
	leastRoom = 64 << 20
	lowRoom   = 1 << 30
	// agentPort is where the control plane expects agents.
	agentPort = "7443"
)

// checkMariaDB sees the unit, the version, the datadir and the port.
func (e *examiner) checkMariaDB(ctx context.Context) []Finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	findings := []Finding{e.checkedUnit(ctx, mariadb.Unit, "mariadb-server")}
	in, err := e.mariadb.Installed(ctx)
	if err != nil {
		return append(findings, missing("mariadb", err.Error(), installHint("mariadb-server")))
	}
	version := ok("mariadb", "MariaDB %s", in.Version)
	if err := in.Version.Supported(); err != nil {
		version = missing("mariadb", err.Error(), "install a newer mariadb-server")
	}
	return append(findings, version, checkDatadir(in), e.checkMariaDBPort(ctx, in.Port))
}

// checkDatadir says what MariaDB has on this host. Databases are no reason against the agent: it
// refuses to mount a volume over them.
func checkDatadir(in mariadb.Installed) Finding {
	const what = "datadir"
	databases, err := mount.UserDatabases(in.Datadir)
	switch {
	case err != nil:
		return missing(what, err.Error(), "have root own the directories on the way to it: a link "+
			"that another user can change is not followed")
	case len(databases) > 0:
		return warning(what, fmt.Sprintf("%s has databases: %s (%s used)", in.Datadir,
			strings.Join(databases, ", "), size.Text(in.Volume.UsedBytes)),
			"the databases stay as they are: no volume is mounted over them, and a job that would "+
				"hide them is refused")
	case in.Made:
		return ok(what, "%s is new: it has MariaDB's own tables alone", in.Datadir)
	case in.Volume.Mount == "":
		return ok(what, "%s is not there yet", in.Datadir)
	default:
		return ok(what, "%s is empty", in.Datadir)
	}
}

// checkMounts sees what is mounted at the places for data volumes.
func (e *examiner) checkMounts(ctx context.Context) []Finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	list, err := e.mounts.List(ctx)
	if err != nil {
		return []Finding{findingOf("mounts", StateMissing, err, "see /proc/1/mountinfo (findmnt)")}
	}
	var findings []Finding
	for _, point := range e.config.MountPoints {
		finding := ok(point, "nothing is mounted")
		for _, m := range list {
			if m.Path == point && m.Mounted {
				finding = ok(point, "%s, %s, %s free of %s", m.Device, m.Filesystem,
					size.Text(m.FreeBytes), size.Text(m.SizeBytes))
			}
		}
		if info, err := os.Lstat(point); err == nil && !info.IsDir() {
			finding = missing(point, "is not a directory", "make it a directory (mkdir "+point+")")
		}
		findings = append(findings, finding)
	}
	return findings
}

// checkListen sees whether the agent can serve on its port, or does.
func (e *examiner) checkListen(ctx context.Context) Finding {
	_, port, err := net.SplitHostPort(e.config.Listen)
	if err != nil {
		return missing("listen", err.Error(), "correct `listen` in the agent's configuration")
	}
	finding := e.checkPort(ctx, "port "+port, e.config.Listen, ownUnit)
	if finding.State == StateOK && port != agentPort {
		return warning(finding.What, "the control plane expects agents on port "+agentPort,
			"set `listen` to :"+agentPort+" in the agent's configuration")
	}
	return finding
}

func (e *examiner) checkMariaDBPort(ctx context.Context, port int) Finding {
	text := strconv.Itoa(port)
	return e.checkPort(ctx, "port "+text, net.JoinHostPort("", text), mariadb.Unit, mariadbSocket)
}

// mariadbSocket listens for MariaDB's unit until a client connects.
const mariadbSocket = "mariadb.socket"

// checkPort sees whether an address can be listened at, or is by the first of the units, which it
// is for, or by one that listens for it.
func (e *examiner) checkPort(ctx context.Context, what, address string, units ...string) Finding {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err == nil {
		return ok(what, "free, for %s", units[0]).after(listener.Close())
	}
	_, port, _ := net.SplitHostPort(address)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return missing(what, err.Error(), "correct the address in the configuration")
	}
	for _, unit := range units {
		user, err := e.units.Get(ctx, unit)
		if err == nil && (user.Running() || user.MainPID > 0) {
			return ok(what, "used by %s", unit)
		}
	}
	return missing(what, "in use, and not by "+units[0],
		"see who uses it (ss -ltnp 'sport = :"+port+"'), and stop that or move it")
}

// after is the finding, unless what followed failed.
func (f Finding) after(err error) Finding {
	if err != nil {
		return missing(f.What, err.Error(), "try again")
	}
	return f
}

// checkRoom sees the room that the agent's own files have.
func checkRoom(stateDir string) Finding {
	dir := stateDir
	var room unix.Statfs_t
	for unix.Statfs(dir, &room) != nil && dir != "/" {
		dir = filepath.Dir(dir) // it is made by the agent's first start
	}
	free := int64(room.Bavail) * room.Bsize
	text := fmt.Sprintf("%s free for %s", size.Text(free), stateDir)
	const hint = "free space on that filesystem (df -h; journalctl --vacuum-size=200M)"
	switch {
	case free < leastRoom:
		return missing("free space", text, hint)
	case free < lowRoom:
		return warning("free space", text, hint)
	}
	return ok("free space", "%s", text)
}
