package mariadb

import (
	"fmt"
	"os/user"
	"strconv"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

// lookup finds the user that MariaDB runs as.
func lookup(name string) (*atomicfile.Owner, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("cannot find the user that MariaDB runs as: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, fmt.Errorf("cannot read the id of user %s: %w", name, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, fmt.Errorf("cannot read the group of user %s: %w", name, err)
	}
	return &atomicfile.Owner{UID: uid, GID: gid}, nil
}
