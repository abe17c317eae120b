package mount

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func checkOwner(owner string) error {
	if owner == "" || regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`).MatchString(owner) {
		return nil
	}
	return invalid("owner", fmt.Sprintf("%.100q is no user's name", owner), "must be a user's name")
}

func lookUp(owner string) (*atomicfile.Owner, error) {
	found, err := atomicfile.OwnerNamed(owner)
	if err != nil {
		return nil, refuse(errorsv1.Reason_REASON_NOT_FOUND,
			fmt.Sprintf("this host has no user %s", owner),
			errs.WithHint("install the package that creates the user"), errs.Wrap(err))
	}
	return found, nil
}

// own makes the path, and not what is in it, belong to the owner; it says whether it did not.
func own(path, owner string) (bool, error) {
	if owner == "" {
		return false, nil
	}
	to, err := lookUp(owner)
	if err != nil {
		return false, err
	}
	return chownIfOther(path, to)
}

// ownAll makes the path and all that is in it belong to the owner, on that filesystem alone. It
// answers how many files did not.
func ownAll(ctx context.Context, path, owner string) (int, error) {
	if owner == "" {
		return 0, nil
	}
	to, err := lookUp(owner)
	if err != nil {
		return 0, err
	}
	var top unix.Stat_t
	if err := unix.Lstat(path, &top); err != nil {
		return 0, err
	}
	changed := 0
	err = filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // MariaDB removes temporary files as it runs
			}
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var stat unix.Stat_t
		if err := unix.Lstat(file, &stat); err != nil || stat.Dev != top.Dev {
			if entry.IsDir() && err == nil {
				return fs.SkipDir
			}
			return nil
		}
		did, err := chownIfOther(file, to)
		if did {
			changed++
		}
		return err
	})
	return changed, err
}

func chownIfOther(path string, to *atomicfile.Owner) (bool, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return false, fmt.Errorf("cannot read the owner of %s: %w", path, err)
	}
	if int(stat.Uid) == to.UID && int(stat.Gid) == to.GID {
		return false, nil
	}
	// Never through a link: a copy's contents are not ours to trust.
	if err := os.Lchown(path, to.UID, to.GID); err != nil {
		return false, fmt.Errorf("cannot change the owner of %s: %w", path, err)
	}
	return true, nil
}
