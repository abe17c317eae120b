package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// refuseHiding refuses a mount over a directory that has a user's databases: MariaDB would start
// without them.
func refuseHiding(path string) error {
	found, err := UserDatabases(path)
	if err != nil || len(found) == 0 {
		return err
	}
	return refuse(errorsv1.Reason_REASON_MOUNT_POINT_NOT_EMPTY,
		fmt.Sprintf("a mount would hide the databases in it: %s", strings.Join(found, ", ")),
		errs.WithHint("use a host without databases, or move these away once they are copied"),
		errs.Meta("path", path))
}

// UserDatabases are the directories below the path that have tables of MariaDB and are not its own.
// None where there is no directory.
func UserDatabases(path string) ([]string, error) {
	dir, err := untrusted.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return userDatabases(dir)
}

func userDatabases(datadir *untrusted.Dir) ([]string, error) {
	entries, err := datadir.Entries()
	if err != nil {
		return nil, err
	}
	whole := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "mysql" })
	var found []string
	for _, entry := range entries {
		switch database := entry.Name(); database {
		case "mysql", "sys", "performance_schema":
		default:
			// A link in a datadir is a database elsewhere for MariaDB.
			if whole && entry.Type() == fs.ModeSymlink || hasTables(datadir, entry) {
				found = append(found, database)
			}
		}
	}
	slices.Sort(found)
	return found, nil
}

func hasTables(datadir *untrusted.Dir, entry fs.DirEntry) bool {
	database, err := datadir.Sub(entry.Name())
	if err != nil {
		return false // no directory, or gone
	}
	defer database.Close()
	tables, err := database.Entries()
	return err != nil || slices.ContainsFunc(tables,
		func(e fs.DirEntry) bool { return strings.HasSuffix(e.Name(), ".frm") })
}

func countFiles(path string) int {
	dir, err := untrusted.Open(path)
	if err != nil {
		return 0
	}
	defer dir.Close()
	entries, err := dir.Entries()
	if err != nil {
		return 0
	}
	return len(entries)
}
