package ec2

import (
	"errors"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// FuzzRefused reads what EC2 answers instead of doing it: a known code becomes the provider's kind
// with a sentence, any other stays an error that may pass.
func FuzzRefused(f *testing.F) {
	for _, seed := range []string{"UnauthorizedOperation", "InvalidVolume.NotFound",
		"RequestLimitExceeded", "VolumeInUse", "", "Nothing.Known"} {
		f.Add(seed, "the words of EC2", "vol-1")
	}
	f.Fuzz(func(t *testing.T, code, message, id string) {
		err := refused(&smithy.GenericAPIError{Code: code, Message: message}, "AttachVolume", id)
		if err == nil || err.Error() == "" {
			t.Errorf("%q is no error", code)
		}
		var known *errs.Error
		if errors.As(err, &known) && errs.HintOf(err).Empty() {
			t.Errorf("%q has no kind or no hint", code)
		}
		if err := checkID(id, "i", "vol", "snap"); err == nil && len(id) < 3 {
			t.Errorf("%q passed as an id", id)
		}
	})
}
