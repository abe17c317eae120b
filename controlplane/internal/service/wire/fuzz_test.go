package wire_test

import (
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// FuzzPage cuts lists at tokens that anybody may have made: a part of the list, or a refusal.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{"", "aW1hZ2VzAGI", "aW1hZ2Vz", "%%%", "b3RoZXIAYg"} {
		f.Add(seed, 2)
	}
	all := []string{"a", "b", "c", "d", "e"}
	f.Fuzz(func(t *testing.T, token string, size int) {
		part, _, err := wire.Cut(wire.Page{Token: token, Size: max(1, size%10)}, all, "images",
			func(s string) string { return s })
		if err != nil && errs.KindOf(err) != errs.InvalidArgument || len(part) > len(all) {
			t.Errorf("%q: %v %v", token, part, err)
		}
	})
}
