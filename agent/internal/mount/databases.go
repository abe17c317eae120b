package mount

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
)

// DatabaseProcess is a MariaDB or a MySQL that runs, as the kernel shows it.
type DatabaseProcess struct {
	// PID is its process id.
	PID int
	// Unit is the unit of systemd that it runs in; empty when it runs in none.
	Unit string
	// Datadir is where its data are: a path of this host where the host sees the directory.
	Datadir string
	// DeviceIDs are the names of the device below it.
	DeviceIDs []string
	// Databases are the users' in it.
	Databases []string
}

const maxDatabases = 20

// DatabaseProcesses are those that run, in whatever unit or container. A server of databases works
// in its datadir.
func (m *Manager) DatabaseProcesses() []DatabaseProcess {
	entries, err := os.ReadDir(m.host.path("/proc"))
	if err != nil {
		return nil
	}
	var found []DatabaseProcess
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		comm := readText(m.host.path("/proc", entry.Name(), "comm"))
		if err == nil && (comm == "mariadbd" || comm == "mysqld") {
			found = append(found, m.databaseProcess(pid))
		}
	}
	return found
}

func (m *Manager) databaseProcess(pid int) DatabaseProcess {
	dir := m.host.path("/proc", strconv.Itoa(pid))
	cwd := filepath.Join(dir, "cwd")
	p := DatabaseProcess{PID: pid, Unit: unitOf(readText(filepath.Join(dir, "cgroup")))}
	p.Datadir, _ = os.Readlink(cwd)
	// A container has another name for it.
	for _, path := range m.allow.mountPoints {
		if sameDir(cwd, path) {
			p.Datadir = path
		}
	}
	p.Databases = databasesIn(cwd)
	var stat unix.Stat_t
	if devices, err := m.host.attached(); err == nil && unix.Stat(cwd, &stat) == nil {
		for _, d := range devices {
			if d.number() == stat.Dev {
				p.DeviceIDs = d.names()
			}
		}
	}
	return p
}

// databasesIn are some of the databases in a process's directory, as far as they can be seen.
func databasesIn(cwd string) []string {
	datadir, err := untrusted.OpenHeld(cwd)
	if err != nil {
		return nil
	}
	defer datadir.Close()
	found, err := userDatabases(datadir)
	if err != nil {
		return nil
	}
	return found[:min(len(found), maxDatabases)]
}

func sameDir(a, b string) bool {
	one, errA := os.Stat(a)
	two, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(one, two)
}

// unitOf is the service in a process's cgroup; empty in a scope, as of a container or a session.
func unitOf(cgroup string) string {
	_, path, _ := strings.Cut(cgroup, "::")
	parts := strings.Split(path, "/")
	slices.Reverse(parts)
	for _, part := range parts {
		if strings.HasSuffix(part, ".service") {
			return part
		}
	}
	return ""
}
