package wire_test

import (
	"testing"

	"github.com/understudy-db/understudy/agent/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// FuzzPage cuts lists at tokens that anybody may have made: a part of the list, or a refusal.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{"", "YQ", "djE6Yg", "%%%"} {
		f.Add(seed, int32(2))
	}
	all := []string{"a", "b", "c", "d", "e"}
	f.Fuzz(func(t *testing.T, token string, size int32) {
		part, _, err := wire.Page(all, func(s string) string { return s }, size, token)
		if err != nil && errs.KindOf(err) != errs.InvalidArgument || len(part) > len(all) {
			t.Errorf("%q: %v %v", token, part, err)
		}
	})
}
