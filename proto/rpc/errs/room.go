package errs

import (
	"errors"
	"syscall"
)

// NoRoom reports whether err is the kernel's word for a full filesystem or for a quota that is used
// up.
func NoRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
