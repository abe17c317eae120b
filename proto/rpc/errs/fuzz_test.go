package errs_test

import (
	"testing"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// FuzzFromStatus reads errors as a peer of any make and version may send them, and sends them on.
func FuzzFromStatus(f *testing.F) {
	made := errs.New(errs.FailedPrecondition, 100, "no", errs.WithHint("yes"), errs.Meta("unit",
		"x"),
		errs.Field("a", "b"), errs.Precondition("c", "d"), errs.Retry(1))
	seed, err := proto.Marshal(status.Convert(errs.ToStatus(made)).Proto())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{8, 5, 18, 2, 'n', 'o'})
	f.Fuzz(func(t *testing.T, data []byte) {
		var s spb.Status
		if proto.Unmarshal(data, &s) != nil || s.GetCode() == 0 {
			return
		}
		got := errs.FromStatus(status.ErrorProto(&s))
		again := errs.FromStatus(errs.ToStatus(got))
		if errs.KindOf(again) != errs.KindOf(got) || errs.ReasonOf(again) != errs.ReasonOf(got) ||
			errs.HintOf(again).String() != errs.HintOf(got).String() {
			t.Errorf("%v became %v", got, again)
		}
	})
}
