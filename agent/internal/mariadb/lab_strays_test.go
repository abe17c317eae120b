//go:build lab

package mariadb_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// scattered is a server that runs with these options; ELSEWHERE in them is a directory on another
// filesystem, where the named files of its datadir are moved to.
func scattered(t *testing.T, root, options string,
	moved ...string) (i *mariadbtest.Instance, elsewhere string) {
	t.Helper()
	i = mariadbtest.New(t, mariadbtest.Options{Root: root, Install: true})
	elsewhere = filepath.Join(i.Dir, "elsewhere")
	must(t, os.Mkdir(elsewhere, 0o755))
	must(t, os.WriteFile(filepath.Join(i.Dir, "conf.d/elsewhere.cnf"), []byte("[mariadbd]\n"+
		strings.ReplaceAll(options, "ELSEWHERE", elsewhere)), 0o644))
	for _, name := range moved {
		move(t, filepath.Join(i.Datadir, name), filepath.Join(elsewhere, name))
	}
	i.Run()
	i.Exec("CREATE DATABASE app")
	return i, elsewhere
}

// move moves a file to another filesystem; one that this version does not have is no matter.
func move(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	must(t, err)
	must(t, os.WriteFile(to, text, 0o644))
	must(t, os.Remove(from))
}

// namedStrays compares what is found elsewhere with all of it.
func namedStrays(t *testing.T, i *mariadbtest.Instance, want ...string) {
	t.Helper()
	found, err := i.Server.Strays(t.Context())
	must(t, err)
	for _, w := range want {
		if !slices.ContainsFunc(found,
			func(s mariadb.Stray) bool { return strings.Contains(s.String(), w) }) {
			t.Errorf("%q is not among %v", w, found)
		}
	}
	if len(want) == 0 && len(found) > 0 {
		t.Errorf("%v", found)
	}
	session, err := i.Server.OpenPointSession(t.Context(), time.Second)
	if err == nil {
		session.Close()
	}
	if len(want) > 0 != (errs.ReasonOf(err) == errorsv1.Reason_REASON_FILES_ELSEWHERE) {
		t.Errorf("a session opens with %v", err)
	}
}

func TestWhatMayBeElsewhereIsNoObstacle(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i, _ := scattered(t, root, "tmpdir=ELSEWHERE\ngeneral_log=1\nslow_query_log=1\n"+
			"general_log_file=ELSEWHERE/general.log\nslow_query_log_file=ELSEWHERE/slow.log\n"+
			"relay_log=ELSEWHERE/relay-bin\ninnodb_data_home_dir=\n"+
			"innodb_temp_data_file_path=../../elsewhere/ibtmp1:12M:autoextend")
		i.Exec("CREATE TABLE app.t (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3")
		conn, err := i.DB.Conn(t.Context())
		must(t, err)
		defer conn.Close()
		for _, s := range []string{"CREATE TEMPORARY TABLE app.x (id INT) ENGINE=MyISAM",
			"INSERT INTO app.x VALUES (1)"} {
			_, err := conn.ExecContext(t.Context(), s)
			must(t, err)
		}
		must(t, os.Symlink("t.frm", filepath.Join(i.Datadir, "app/link")))
		namedStrays(t, i)
	})
}

func TestPathsToAnotherVolumeAreNamed(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i, _ := scattered(t, root, "innodb_log_group_home_dir=../../elsewhere\n"+
			"aria_log_dir_path=ELSEWHERE\ninnodb_undo_directory=ELSEWHERE\n"+
			"innodb_data_home_dir=\n"+
			"innodb_data_file_path=ibdata1:12M;ELSEWHERE/ibdata2:12M:autoextend\n"+
			"log_bin=ELSEWHERE/mariadb-bin\nlog_bin_index=ELSEWHERE/binlog.index",
			"ib_logfile0", "aria_log_control", "aria_log.00000001", "undo001", "undo002", "undo003")
		namedStrays(t, i, "variable innodb_log_group_home_dir", "variable aria_log_dir_path",
			"variable innodb_undo_directory", "/ibdata2 (", "variable log_bin_basename",
			"variable log_bin_index", "/ib_logfile0 (open file)")
	})
}

func TestTablesOnAnotherVolumeAreNamed(t *testing.T) {
	const directory = " DIRECTORY = 'ELSEWHERE'"
	eachVersion(t, func(t *testing.T, root string) {
		i, elsewhere := scattered(t, root, "")
		for _, s := range []string{"CREATE TABLE app.dd (id INT PRIMARY KEY) DATA" + directory,
			"CREATE TABLE app.p (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION a VALUES " +
				"LESS THAN (9), PARTITION b VALUES LESS THAN MAXVALUE DATA" + directory + ")",
			"CREATE TABLE app.m (id INT, KEY (id)) ENGINE=MyISAM INDEX" + directory} {
			i.Exec(strings.ReplaceAll(s, "ELSEWHERE", elsewhere))
		}
		namedStrays(t, i, "dd.ibd", "p#P#b.ibd", "m.MYI")
		i.Stop() // after a restart the server has none of them open
		must(t, os.Symlink(elsewhere, filepath.Join(i.Datadir, "linked")))
		below := filepath.Join(i.Datadir, "below")
		must(t, os.Mkdir(below, 0o755))
		must(t, unix.Mount("below", below, "tmpfs", 0, ""))
		t.Cleanup(func() { _ = unix.Unmount(below, unix.MNT_DETACH) })
		i.Run()
		namedStrays(t, i, "link app/dd.isl", "link app/p#P#b.isl", "link app/m.MYI", "link linked",
			"/below (mounted below the datadir)")
	})
}

func TestADatadirUnderAnotherMountIsNotCopied(t *testing.T) {
	i := mariadbtest.Start(t, mariadbtest.Options{Root: roots(t)[0], Install: true})
	must(t, unix.Mount("over", i.Datadir, "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(i.Datadir, unix.MNT_DETACH) })
	_, err := i.Server.Strays(t.Context())
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_FILES_ELSEWHERE {
		t.Errorf("%v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
