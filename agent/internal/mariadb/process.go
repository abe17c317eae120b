package mariadb

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// serverProcess is a running server as the kernel sees it.
type serverProcess struct {
	proc string
	cwd  fileID
}

// openProcess is the process that has locks on files of the datadir, or else says so itself.
func openProcess(datadir, pidFile string) (serverProcess, error) {
	pid, err := running(datadir)
	if err == nil && pid == 0 {
		pid = pidIn(pidFile)
	}
	p := serverProcess{proc: "/proc/" + strconv.Itoa(pid)}
	if err != nil {
		return p, err
	}
	if pid == 0 {
		return p, unsafe(errorsv1.Reason_REASON_FILES_ELSEWHERE,
			"cannot see the files of MariaDB: no process has the datadir open",
			errs.WithHint("see what is mounted at the datadir (findmnt on the host)"))
	}
	p.cwd, err = identify(p.proc + "/cwd")
	return p, err
}

// pidIn is the number in a pid file, or 0. Whoever writes it cannot have another process taken for
// the server: that one has another working directory.
func pidIn(path string) int {
	pid, _ := strconv.Atoi(strings.TrimSpace(string(readSmall(path, 32))))
	return pid
}

// identify is the file at a path of the agent's; links are followed.
func identify(path string) (fileID, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return fileID{}, fmt.Errorf("cannot identify %s: %w", path, err)
	}
	return fileID{stat.Dev, stat.Ino}, nil
}

// identify is the file at a path of the server's; links lead where they lead the server.
func (p serverProcess) identify(path string) (fileID, error) {
	found, err := securejoin.SecureJoin(p.proc+"/root", path)
	if err != nil {
		return fileID{}, err
	}
	return identify(found)
}

// own is a path of the kernel's as the server names it: it may have a root of its own.
func (p serverProcess) own(path string) string {
	root, err := os.Readlink(p.proc + "/root")
	if below, is := strings.CutPrefix(path, root+"/"); err == nil && is && root != "/" {
		return "/" + below
	}
	return path
}

func (p serverProcess) mounts() ([]*mountinfo.Info, error) {
	file, err := os.Open(p.proc + "/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cannot read the mounts of MariaDB: %w", err)
	}
	defer file.Close()
	return mountinfo.GetMountsFromReader(file, nil)
}

func (p serverProcess) eachOpen(do func(fd int, path string, stat unix.Stat_t)) error {
	entries, err := os.ReadDir(p.proc + "/fd")
	if err != nil {
		return fmt.Errorf("cannot read the open files of MariaDB: %w", err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		link := p.proc + "/fd/" + e.Name()
		var stat unix.Stat_t
		if err != nil || unix.Stat(link, &stat) != nil {
			continue // closed since
		}
		if path, err := os.Readlink(link); err == nil {
			do(fd, p.own(path), stat)
		}
	}
	return nil
}

// writes is true for a descriptor that was opened to write.
func (p serverProcess) writes(fd int) bool {
	text, err := os.ReadFile(fmt.Sprintf("%s/fdinfo/%d", p.proc, fd))
	if err != nil {
		return false // closed since
	}
	for line := range strings.Lines(string(text)) {
		if value, is := strings.CutPrefix(line, "flags:"); is {
			flags, err := strconv.ParseInt(strings.TrimSpace(value), 8, 64)
			return err != nil || flags&unix.O_ACCMODE != unix.O_RDONLY
		}
	}
	return true
}

// isKernels is true for a descriptor of a file that holds no data: MariaDB asks the kernel to tell
// of memory pressure by a write to one of its cgroup.
func (p serverProcess) isKernels(fd int) bool {
	var stat unix.Statfs_t
	if unix.Statfs(fmt.Sprintf("%s/fd/%d", p.proc, fd), &stat) != nil {
		return false
	}
	switch stat.Type {
	case unix.CGROUP2_SUPER_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.PROC_SUPER_MAGIC,
		unix.SYSFS_MAGIC:
		return true
	}
	return false
}

// eachMap calls do for each file that is mapped shared, to write.
func (p serverProcess) eachMap(do func(path string, id fileID)) error {
	file, err := os.Open(p.proc + "/maps")
	if err != nil {
		return fmt.Errorf("cannot read the maps of MariaDB: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 6 || f[1][1] != 'w' || f[1][3] != 's' || !filepath.IsAbs(f[5]) ||
			f[len(f)-1] == "(deleted)" || strings.HasPrefix(f[5], "/dev/") {
			continue
		}
		var major, minor uint32
		inode, err := strconv.ParseUint(f[4], 10, 64)
		if _, scanErr := fmt.Sscanf(f[3], "%x:%x", &major, &minor); err != nil || scanErr != nil {
			return fmt.Errorf("cannot read the maps of MariaDB from %.200q", lines.Text())
		}
		do(p.own(strings.Join(f[5:], " ")), fileID{unix.Mkdev(major, minor), inode})
	}
	return lines.Err()
}
