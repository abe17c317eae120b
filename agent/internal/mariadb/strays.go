package mariadb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Stray is a file of the running server that a snapshot of its volume would lack.
type Stray struct {
	// Path is what the server calls it; Use is what leads to it: "variable aria_log_dir_path".
	Path, Use string
}

// String is both: "/srv/redo (variable innodb_log_group_home_dir)".
func (s Stray) String() string { return s.Path + " (" + s.Use + ")" }

// survey collects the files of a running server that are not on its datadir's filesystem. What the
// kernel and the server say counts: open files, maps, mounts, tablespaces, links, variables.
type survey struct {
	// datadir is as the server has it, without links in it for the agent; mount is where its whole
	// filesystem is mounted, on a replica too.
	datadir, mount string
	process        serverProcess
	device         uint64
	// exempt are the files, and the directories of files, that may be elsewhere.
	exempt []fileID
	found  []Stray
}

// fileID is a file, whatever its path.
type fileID struct{ device, inode uint64 }

// Strays are the files of the running server that a snapshot of its volume would lack.
func (s *Server) Strays(ctx context.Context) ([]Stray, error) {
	const what = "cannot see the files of MariaDB"
	if err := s.require(ctx, what); err != nil {
		return nil, err
	}
	volume, err := s.datadirVolume(ctx)
	if err != nil {
		return nil, failure(what, err)
	}
	found, err := strays(ctx, s.db, volume)
	return found, failure(what, err)
}

// strays are the files of the server that a snapshot of the volume would lack.
func strays(ctx context.Context, q querier, volume Volume) ([]Stray, error) {
	v, err := variables(ctx, q, slices.AppendSeq([]string{"datadir", "pid_file"},
		maps.Keys(notCarried()))...)
	if err != nil {
		return nil, err
	}
	s, err := newSurvey(v["datadir"], v["pid_file"], volume)
	if err != nil {
		return nil, err
	}
	s.moved(v)
	if err := s.variables(ctx, q); err != nil {
		return nil, err
	}
	if err := s.tablespaces(ctx, q); err != nil {
		return nil, err
	}
	if err := s.tables(ctx, q); err != nil {
		return nil, err
	}
	for _, look := range []func() error{s.mounts, s.openFiles, s.maps, s.links} {
		if err := errors.Join(ctx.Err(), look()); err != nil {
			return nil, err
		}
	}
	return byPath(s.found), nil
}

// byPath has each path once, with all its uses.
func byPath(found []Stray) []Stray {
	slices.SortStableFunc(found, func(a, b Stray) int { return strings.Compare(a.Path, b.Path) })
	var all []Stray
	for _, f := range found {
		if last := len(all) - 1; last >= 0 && all[last].Path == f.Path {
			all[last].Use += ", " + f.Use
			continue
		}
		all = append(all, f)
	}
	return all
}

// newSurvey finds the process that has the datadir open, and proves that the path leads to what it
// has open: something may be mounted over it since.
func newSurvey(datadir, pidFile string, volume Volume) (*survey, error) {
	real, err := untrusted.Resolve(datadir)
	if err != nil {
		return nil, fmt.Errorf("cannot find the datadir: %w", err)
	}
	p, err := openProcess(real, pidFile)
	if err != nil {
		return nil, err
	}
	id, err := identify(real)
	if err == nil && id != p.cwd {
		err = unsafe(errorsv1.Reason_REASON_FILES_ELSEWHERE, fmt.Sprintf("cannot see the files "+
			"of MariaDB: the directory at %s is not the one that the server has open", datadir),
			errs.WithHint("unmount what was mounted over it since MariaDB started"))
	}
	if err != nil {
		return nil, err
	}
	return &survey{datadir: filepath.Clean(datadir), mount: volume.Mount, process: p,
		device: id.device}, nil
}

func (s *survey) add(path, use string, args ...any) {
	s.found = append(s.found, Stray{path, fmt.Sprintf(use, args...)})
}

// reached is true for a path on the volume that leads there on a replica too: below the datadir, or
// below the place where the whole volume is mounted.
func (s *survey) reached(path string) bool {
	return within(path, s.datadir) || s.mount != "/" && within(path, s.mount)
}

// absolute is a path as the server follows it: it works in its datadir.
func (s *survey) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(s.datadir, path)
}

// path adds one that the server follows, unless it leads to the volume. What is not there yet is
// where its directory is.
func (s *survey) path(path, use string, args ...any) error {
	path = s.absolute(path)
	id, err := s.process.identify(path)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(path) != "/" {
		id, err = s.process.identify(filepath.Dir(path))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return nil // nothing is there
	case err != nil:
		return fmt.Errorf("cannot find %s of MariaDB: %w", path, err)
	case id.device != s.device:
		s.add(path, use, args...)
	case !s.reached(path):
		s.add(path, use+", on the volume by a path that a replica does not have", args...)
	}
	return nil
}

// variables are all global ones with a path, known or not: those that may be elsewhere are few.
func (s *survey) variables(ctx context.Context, q querier) error {
	all, err := query(ctx, q, "SHOW GLOBAL VARIABLES WHERE Value LIKE '%/%'")
	if err != nil {
		return err
	}
	for _, r := range all {
		name := strings.ToLower(r["variable_name"])
		for _, path := range pathsIn(r["value"]) {
			if mayBeElsewhere(name) {
				s.exempts(name, path)
			} else if err := s.path(path, "variable %s", name); err != nil {
				return err
			}
		}
	}
	return nil
}

// notCarried are variables of engines whose files a copy is read without, unless they have these
// values: an option of an engine is none of the contract's.
func notCarried() map[string]string {
	return map[string]string{"rocksdb_datadir": "./#rocksdb", "rocksdb_wal_dir": ""}
}

// moved are files on the volume that a replica's server would not look for.
func (s *survey) moved(v row) {
	for _, name := range slices.Sorted(maps.Keys(notCarried())) {
		if value := v[name]; value != "" && value != notCarried()[name] {
			s.add(s.absolute(value), "variable %s, which a replica does not have", name)
		}
	}
}

// pathsIn are the paths in a value that may lead out of the datadir: one, a list with colons, or
// files with their sizes.
func pathsIn(value string) []string {
	var found []string
	parts := strings.FieldsFuncSeq(value, func(r rune) bool { return r == ':' || r == ';' })
	for part := range parts {
		if filepath.IsAbs(part) || strings.HasPrefix(part, "../") {
			found = append(found, part)
		}
	}
	return found
}

// exempts remembers what may be elsewhere, for the look at open files: the file, or all files of a
// directory or with a base name.
func (s *survey) exempts(name, path string) {
	path = s.absolute(path)
	if strings.HasSuffix(name, "_basename") {
		path = filepath.Dir(path)
	}
	if id, err := s.process.identify(path); err == nil {
		s.exempt = append(s.exempt, id)
	}
}

// tablespaces are those that InnoDB knows by another path than its own; it knows more when it has
// them open, so that links tells the rest.
func (s *survey) tablespaces(ctx context.Context, q querier) error {
	all, err := query(ctx, q, "SELECT name, filename FROM information_schema."+
		"innodb_sys_tablespaces WHERE filename NOT LIKE './%' AND name <> 'innodb_temporary'")
	if err != nil {
		return err
	}
	for _, r := range all {
		if err := s.path(r["filename"], "tablespace %s", r["name"]); err != nil {
			return err
		}
	}
	return nil
}

// tables are those of engines that keep rows elsewhere.
func (s *survey) tables(ctx context.Context, q querier) error {
	all, err := tables(ctx, q, false)
	for _, t := range all {
		if t.remote() {
			s.add(t.String(), "table of engine %s", t.engine)
		}
	}
	return err
}

// mounts are filesystems below the datadir: the snapshot has the empty directories below them.
func (s *survey) mounts() error {
	all, err := s.process.mounts()
	if err != nil {
		return err
	}
	for _, m := range all {
		if below := within(m.Mountpoint, s.datadir); below && m.Mountpoint != s.datadir {
			s.add(m.Mountpoint, "mounted below the datadir")
		}
	}
	return nil
}

// openFiles are those that the server writes. Standard output is for what it logs.
func (s *survey) openFiles() error {
	return s.process.eachOpen(func(fd int, path string, stat unix.Stat_t) {
		if fd <= unix.Stderr || stat.Nlink == 0 || stat.Mode&unix.S_IFMT != unix.S_IFREG ||
			stat.Dev == s.device || s.isExempt(path, stat) || !s.process.writes(fd) ||
			s.process.isKernels(fd) {
			return
		}
		s.add(path, "open file")
	})
}

func (s *survey) isExempt(path string, stat unix.Stat_t) bool {
	if slices.Contains(s.exempt, fileID{stat.Dev, stat.Ino}) {
		return true
	}
	dir, err := s.process.identify(filepath.Dir(path))
	return err == nil && slices.Contains(s.exempt, dir)
}

// maps are files that the server writes through its memory; their descriptors may be closed.
func (s *survey) maps() error {
	return s.process.eachMap(func(path string, id fileID) {
		if id.device != s.device && !slices.Contains(s.exempt, id) {
			s.add(path, "mapped file")
		}
	})
}

// mostFiles bounds the look at a datadir: who can write there can make any number.
const mostFiles = 2_000_000

// links are symbolic links below the datadir, and those of InnoDB, which are files with a path.
func (s *survey) links() error {
	datadir, err := untrusted.Open(s.datadir)
	if err != nil {
		return fmt.Errorf("cannot see the files of MariaDB: %w", err)
	}
	defer datadir.Close()
	root, err := datadir.Root()
	if err != nil {
		return fmt.Errorf("cannot see the files of MariaDB: %w", err)
	}
	defer root.Close()
	seen := 0
	return fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if seen++; seen > mostFiles {
			return fmt.Errorf("cannot see the files of MariaDB: more than %d", mostFiles)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // the server removes files
		case err != nil:
			return fmt.Errorf("cannot see the files of MariaDB: %w", err)
		case entry.Type() == fs.ModeSymlink:
			return s.link(root, path)
		case entry.Type().IsRegular() && strings.HasSuffix(path, ".isl"):
			return s.innodbLink(root, path)
		}
		return nil
	})
}

// link follows one link as the server does.
func (s *survey) link(root *os.Root, path string) error {
	if _, err := root.Stat(path); err == nil {
		return nil // it stays in the datadir
	}
	to, err := root.Readlink(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot follow link %s of MariaDB: %w", path, err)
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(s.datadir, filepath.Dir(path), to)
	}
	return s.path(to, "link %s", path)
}

// longestPath bounds the content of a link of InnoDB.
const longestPath = 4096

func (s *survey) innodbLink(root *os.Root, path string) error {
	file, err := root.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read link %s of InnoDB: %w", path, err)
	}
	defer file.Close()
	to, err := io.ReadAll(io.LimitReader(file, longestPath))
	if err != nil {
		return fmt.Errorf("cannot read link %s of InnoDB: %w", path, err)
	}
	return s.path(strings.TrimSpace(string(to)), "link %s", path)
}

// complete refuses a server that has files elsewhere than on its volume.
func complete(ctx context.Context, q querier, volume Volume) error {
	found, err := strays(ctx, q, volume)
	if err != nil || len(found) == 0 {
		return err
	}
	return unsafe(errorsv1.Reason_REASON_FILES_ELSEWHERE, fmt.Sprintf("cannot copy MariaDB by a "+
		"snapshot of %s: it has files that are not there: %s", volume.Mount, listed(found)),
		errs.WithHint("move them onto the volume, where the datadir is, and restart MariaDB"))
}

// listed are the first few, and how many more there are.
func listed(all []Stray) string {
	const shown = 5
	var text []string
	for _, s := range all[:min(len(all), shown)] {
		text = append(text, s.String())
	}
	if more := len(all) - shown; more > 0 {
		text = append(text, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(text, ", ")
}
