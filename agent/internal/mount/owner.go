package mount

import (
	"fmt"
	"regexp"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
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

// own makes the root of the mount at the path, and not what is in it, belong to the owner; it says
// whether it did not.
func own(path, owner string) (bool, error) {
	if owner == "" {
		return false, nil
	}
	to, err := lookUp(owner)
	if err != nil {
		return false, err
	}
	dir, err := untrusted.Open(path)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	return dir.Own(*to)
}
