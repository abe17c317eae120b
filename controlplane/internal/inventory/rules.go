package inventory

import (
	"slices"
	"strings"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// FirstServerID is the lowest server_id that is allocated: lower ones are left to operators.
const FirstServerID = 1001

const (
	minName = 2
	maxName = 40
)

// ValidateName refuses a server name that is not 2 to 40 lower-case letters, digits and hyphens, a
// letter first and no hyphen last.
func ValidateName(name string) error {
	if slices.Contains(reservedNames(), name) {
		return refuseAs(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
			errs.WithHint("choose another name"), "the name %q is not a server's", name)
	}
	if validName(name) {
		return nil
	}
	return refuseAs(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
		errs.WithHint("use 2 to 40 lower-case letters, digits and hyphens, a letter first and "+
			"no hyphen last"),
		"the name %q cannot be used", shorten(name))
}

// reservedNames mean something else where a server's name stands: in certificates, in addresses.
func reservedNames() []string {
	return []string{"anonymous", "controlplane", "localhost", "operator", "understudy"}
}

func validName(name string) bool {
	if len(name) < minName || len(name) > maxName || !letter(name[0]) || name[len(name)-1] == '-' {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !letter(c) && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' }

func shorten(s string) string {
	if len(s) <= maxName {
		return s
	}
	return strings.ToValidUTF8(s[:maxName], "") + "…"
}
