package errs_test

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestAFullDiskIsAnAnswerWithAHint(t *testing.T) {
	t.Parallel()
	for _, errno := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		err := fmt.Errorf("cannot note it: %w", &os.PathError{Op: "write", Path: "/var/lib/x",
			Err: errno})
		if errs.KindOf(err) != errs.FailedPrecondition ||
			errs.ReasonOf(err) != errorsv1.Reason_REASON_DISK_FULL ||
			errs.HintOf(err).String() == "" {
			t.Errorf("%v: %v %v %q", err, errs.KindOf(err), errs.ReasonOf(err),
				errs.HintOf(err).String())
		}
	}
	if err := errors.New("another"); errs.KindOf(err) != errs.Internal ||
		errs.HintOf(err).String() != "" {
		t.Errorf("%v: %v %q", err, errs.KindOf(err), errs.HintOf(err).String())
	}
}
