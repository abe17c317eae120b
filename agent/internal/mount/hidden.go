package mount

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// refuseHiding refuses a mount over a directory that has a user's databases: MariaDB would start
// without them.
func refuseHiding(path string) error {
	found := UserDatabases(path)
	if len(found) == 0 {
		return nil
	}
	return refuse(errorsv1.Reason_REASON_MOUNT_POINT_NOT_EMPTY,
		fmt.Sprintf("a mount would hide the databases in it: %s", strings.Join(found, ", ")),
		errs.WithHint("use a host without databases, or move these away once they are copied"),
		errs.Meta("path", path))
}

// UserDatabases are the directories below the path that have tables of MariaDB and are not its own.
func UserDatabases(path string) []string {
	tables, err := filepath.Glob(filepath.Join(escape(path), "*", "*.frm"))
	if err != nil {
		return nil // the pattern is well-formed
	}
	var found []string
	for _, table := range tables {
		switch database := filepath.Base(filepath.Dir(table)); {
		case database == "mysql", database == "sys", database == "performance_schema",
			slices.Contains(found, database):
		default:
			found = append(found, database)
		}
	}
	return found
}

// escape takes the meaning out of a path's characters that patterns give one.
func escape(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(path)
}

func countFiles(path string) int {
	entries, err := os.ReadDir(path)
	if err != nil {
		return 0
	}
	return len(entries)
}
