package mariadb

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// plant makes files, and directories for names that end in a slash.
func plant(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func left(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			name, _ := filepath.Rel(dir, path)
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func opened(t *testing.T, dir string) *untrusted.Dir {
	t.Helper()
	datadir, err := untrusted.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = datadir.Close() })
	return datadir
}

func copied() map[string]string {
	return map[string]string{
		"ibdata1": "", "mysql/db.MAD": "", "mariadb-bin.000001": "",
		"mariadb-bin.index": "./mariadb-bin.000001\n", "mariadb-bin.state": "",
		"master.info": "", "master-other.info": "",
		"relay-log.info": "5\n./mysqld-relay-bin.000002\n4\n", "relay-log-other.info": "",
		"multi-master.info":       "",
		"mysqld-relay-bin.000001": "", "mysqld-relay-bin.000002": "",
		"mysqld-relay-bin.index": "./mysqld-relay-bin.000001\n./mysqld-relay-bin.000002\n",
		"shop/t.ibd":             "", "shop/#sql-alter-12-3.ibd": "",
		"shop/#sql-backup-12-3.ibd": "",
		"#sql-temp.MAI":             "", "#rocksdb/x": "",
	}
}

func TestCleaningACopy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plant(t, dir, copied())
	changes, err := cleanCopy(dir, Volume{Mount: dir})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"#rocksdb/x", "#sql-temp.MAI", "ibdata1", "mariadb-bin.000001",
		"mariadb-bin.index", "mariadb-bin.state", "mysql/db.MAD", "shop/#sql-alter-12-3.ibd",
		"shop/#sql-backup-12-3.ibd", "shop/t.ibd"}
	if got := left(t, dir); !slices.Equal(got, want) {
		t.Errorf("left %v\nnot %v", got, want)
	}
	if len(changes) != 2 {
		t.Errorf("%q", changes)
	}
	if changes, err := cleanCopy(dir, Volume{Mount: dir}); err != nil || len(changes) > 0 {
		t.Errorf("again: %q %v", changes, err)
	}
}

func TestRelayLogsOfAnotherNameAreFoundByTheirInfo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plant(t, dir, map[string]string{"relay-log.info": "./odd.000003\n4\n", "odd.000002": "",
		"odd.000003": "", "odd.index": "./odd.000003\n",
		"bin.000003": "", "bin.index": "./bin.000003\n",
		"evil.index": "../../../etc/passwd\n/etc/hosts\n"})
	found, err := relayLogs(opened(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(found, []string{"odd.000002", "odd.000003", "odd.index"}) {
		t.Errorf("%v", found)
	}
}

// What lies there after the first cleaning is the server's own, and a snapshot of it is a copy
// again.
func TestACopyIsCleanedOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	v := Volume{Mount: dir}
	plant(t, dir, copied())
	plant(t, dir, map[string]string{untrusted.NoncePath: "aa\n"})
	if changes, err := cleanCopy(dir, v); err != nil || len(changes) == 0 {
		t.Fatalf("%v %v", changes, err)
	}
	plant(t, dir, map[string]string{"master.info": "its own"})
	if changes, err := cleanCopy(dir, v); err != nil || len(changes) > 0 {
		t.Errorf("its own settings went: %v %v", changes, err)
	}
	plant(t, dir, map[string]string{untrusted.NoncePath: "bb\n"})
	if changes, err := cleanCopy(dir, v); err != nil ||
		!slices.Equal(changes, []string{"removed master.info"}) {
		t.Errorf("a copy of the replica: %v %v", changes, err)
	}
}

func TestGuardOfVersions(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]errorsv1.Reason{
		"11.8.6-MariaDB": errorsv1.Reason_REASON_DATADIR_NEWER, "10.11.2-MariaDB": 0,
		"10.6.1-MariaDB": 0, "": 0, "rubbish": errorsv1.Reason_REASON_DATADIR_INVALID,
	} {
		dir := t.TempDir()
		plant(t, dir, map[string]string{"mysql/": ""})
		if version != "" {
			plant(t, dir, map[string]string{"mysql_upgrade_info": version})
		}
		done := DatadirDone{Binary: Version{10, 11, 19}}
		err := guardVersion(dir, &done)
		if want == 0 && err != nil || want != 0 && errs.ReasonOf(err) != want {
			t.Errorf("%q: %v", version, err)
		}
		if want == 0 && done.UpgradeNeeded == strings.HasPrefix(version, "10.11.") {
			t.Errorf("%q: upgrade needed %v", version, done.UpgradeNeeded)
		}
	}
	if err := guardVersion(t.TempDir(),
		&DatadirDone{}); errs.ReasonOf(err) != errorsv1.Reason_REASON_DATADIR_INVALID {
		t.Errorf("empty: %v", err)
	}
}

// MariaDB 11 makes the newer file empty when its upgrade begins: one that was cut off goes on, and
// an older binary gets nothing of it.
func TestAnUpgradeThatWasCutOffGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plant(t, dir, map[string]string{"mysql/": "", "mysql_upgrade_info": "10.11.18-MariaDB",
		"mariadb_upgrade_info": ""})
	done := DatadirDone{Binary: Version{11, 8, 9}}
	if err := guardVersion(dir, &done); err != nil || !done.UpgradeNeeded ||
		done.Datadir != (Version{10, 11, 18}) {
		t.Errorf("%+v %v", done, err)
	}
	if err := guardVersion(dir, &DatadirDone{Binary: Version{10, 11, 19}}); errs.ReasonOf(err) !=
		errorsv1.Reason_REASON_DATADIR_NEWER {
		t.Errorf("the version of before the upgrade: %v", err)
	}
}

// A run that was cut off while moving is gone on with, one that was cut off before begins anew.
func TestMovingANewDatadirIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plant(t, dir, map[string]string{"ibdata1": "", nursery + "/aria_log_control": "",
		nursery + "/mysql/db.MAD": "", nursery + "/" + grown: "", "lost+found/": ""})
	datadir := opened(t, dir)
	state, err := lookInto(datadir)
	if err != nil || !state.grown || state.complete {
		t.Fatalf("%+v %v", state, err)
	}
	if err := moveIn(datadir); err != nil {
		t.Fatal(err)
	}
	// Cut off between the mark of the nursery and the nursery itself.
	if err := os.Mkdir(filepath.Join(dir, nursery), 0o700); err != nil {
		t.Fatal(err)
	}
	if state, err = lookInto(datadir); err != nil || !state.grown || state.complete {
		t.Fatalf("%+v %v", state, err)
	}
	if err := moveIn(datadir); err != nil {
		t.Fatal(err)
	}
	if state, err = lookInto(datadir); err != nil || !state.complete {
		t.Errorf("%+v %v", state, err)
	}
	if got := left(t, dir); !slices.Equal(got,
		[]string{"aria_log_control", "ibdata1", "mysql/db.MAD"}) {
		t.Errorf("%v", got)
	}
	// Half of a new datadir does not go over a datadir that somebody put there meanwhile.
	plant(t, dir, map[string]string{nursery + "/ibdata1": ""})
	if state, err = lookInto(datadir); err != nil || state.grown || state.complete {
		t.Errorf("%+v %v", state, err)
	}
}

func TestLocatingADatadir(t *testing.T) {
	t.Parallel()
	mounts := []*mountinfo.Info{
		{Mountpoint: "/", Root: "/", Source: "/dev/vda", FSType: "ext4", Major: 1, Minor: 1},
		{Mountpoint: "/var", Root: "/", Source: "/dev/vdc", FSType: "ext4", Major: 1, Minor: 3},
		{Mountpoint: "/srv/mariadb", Root: "/", Source: "/dev/vdb", FSType: "xfs", Major: 1,
			Minor: 2},
		{Mountpoint: "/var/lib/mysql", Root: "/mysql", Source: "/dev/vdb", FSType: "xfs", Major: 1,
			Minor: 2},
		{Mountpoint: "/var/lib/mysql-other", Root: "/", Source: "/dev/vde", FSType: "xfs", Major: 1,
			Minor: 5},
	}
	for path, want := range map[string]Volume{
		"/var/lib/mysql": {Mount: "/srv/mariadb", Whole: true, Device: "/dev/vdb", Type: "xfs",
			Number: "1:2", Path: "/mysql"},
		"/var/lib/mysql/shop": {Mount: "/srv/mariadb", Whole: true, Device: "/dev/vdb", Type: "xfs",
			Number: "1:2", Path: "/mysql/shop"},
		"/var/lib/mysql2": {Mount: "/var", Whole: true, Device: "/dev/vdc", Type: "ext4",
			Number: "1:3", Path: "/lib/mysql2"},
		"/opt": {Mount: "/", Whole: true, Device: "/dev/vda", Type: "ext4",
			Number: "1:1", Path: "/opt"},
	} {
		if got, err := locate(mounts, path); err != nil || got != want {
			t.Errorf("%s: %+v %v", path, got, err)
		}
	}
	if v, err := locate(mounts[3:4], "/var/lib/mysql"); err != nil || v.Whole ||
		v.Mount != "/var/lib/mysql" {
		t.Errorf("a bind mount alone: %+v %v", v, err)
	}
	if _, err := locate(nil, "/x"); err == nil {
		t.Error("found without mounts")
	}
}
