// Package identity says who is at the other end of a connection, and proves it: one URI in a
// certificate of the fleet's own CA. Both ends of every connection are checked here, in one place,
// against roots that can change while it runs.
package identity

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Role is what a peer is in the fleet; access rules are written in roles.
type Role string

// The roles.
const (
	// RoleAnonymous has shown no certificate: a machine that is about to enrol.
	RoleAnonymous Role = "anonymous"
	// RoleAgent is the agent of one server.
	RoleAgent Role = "agent"
	// RoleControlPlane is the control plane itself.
	RoleControlPlane Role = "controlplane"
	// RoleViewer is an operator, a person or a program, who reads alone.
	RoleViewer Role = "viewer"
	// RoleOperator is an operator who changes servers as well.
	RoleOperator Role = "operator"
	// RoleAdmin is an operator who also says who the operators are.
	RoleAdmin Role = "admin"
	// RoleBreakGlass is root on the control plane's own host, who needs no certificate to say who
	// the operators are: see BreakGlass.
	RoleBreakGlass Role = "break_glass"
)

const (
	uriPrefix = "spiffe://understudy/"
	// maxName is the length of the longest DNS label: a server's name is one in its certificates.
	maxName = 63
)

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`)

// Identity is who a peer is. The zero Identity is nobody and equals no peer.
type Identity struct {
	// Role is what the peer is.
	Role Role
	// Name is the server of an agent, the name of an operator or the user of a break-glass; empty
	// for other roles.
	Name string
}

// Anonymous is a peer without a certificate.
func Anonymous() Identity { return Identity{Role: RoleAnonymous} }

// ControlPlane is the control plane's identity.
func ControlPlane() Identity { return Identity{Role: RoleControlPlane} }

// Agent is the identity of the agent of that server.
func Agent(server string) Identity { return Identity{Role: RoleAgent, Name: server} }

// Viewer is the identity of an operator who reads alone.
func Viewer(name string) Identity { return Identity{Role: RoleViewer, Name: name} }

// Operator is the identity of an operator who changes servers.
func Operator(name string) Identity { return Identity{Role: RoleOperator, Name: name} }

// Admin is the identity of an operator who says who the operators are.
func Admin(name string) Identity { return Identity{Role: RoleAdmin, Name: name} }

// Operators are the roles that an operator can have, each with all that the one before it may do.
func Operators() []Role { return []Role{RoleViewer, RoleOperator, RoleAdmin} }

// IsOperator says whether it is the role of an operator.
func (r Role) IsOperator() bool { return slices.Contains(Operators(), r) }

// Gives says whether who has the role may give another role to an operator: none above its own. An
// admin's is the greatest, and break-glass gives any.
func (r Role) Gives(other Role) bool {
	roles := Operators()
	return other.IsOperator() && (r == RoleBreakGlass ||
		slices.Index(roles, r) >= slices.Index(roles, other))
}

// Parse reads an identity from the only spelling it has, `spiffe://understudy/agent/<server>`,
// `spiffe://understudy/<role>/<name>` of an operator or `spiffe://understudy/controlplane`.
func Parse(uri string) (Identity, error) {
	path, ours := strings.CutPrefix(uri, uriPrefix)
	role, name, named := strings.Cut(path, "/")
	id := Identity{Role: Role(role), Name: name}
	if !ours || named != (id.Role != RoleControlPlane) || id.Role == RoleAnonymous {
		return Identity{}, fmt.Errorf("%.200q is no identity of this fleet", uri)
	}
	if err := id.Check(); err != nil {
		return Identity{}, err
	}
	return id, nil
}

// Check is nil when the identity is one that a certificate can carry.
func (id Identity) Check() error {
	switch id.Role {
	case RoleControlPlane:
		if id.Name != "" {
			return errors.New("the control plane has no name of its own")
		}
		return nil
	case RoleAgent, RoleViewer, RoleOperator, RoleAdmin:
		return CheckName(id.Name)
	default:
		return fmt.Errorf("role %.20q has no certificate", id.Role)
	}
}

// CheckName says whether a server or an operator can have that name: at most 63 of a-z, 0-9, dot,
// dash and underscore, with a letter or digit at both ends.
func CheckName(name string) error {
	if len(name) > maxName || !namePattern.MatchString(name) {
		return fmt.Errorf("name %.80q: must be 1 to %d of a-z, 0-9, '.', '-' and '_', with a "+
			"letter or digit at both ends", name, maxName)
	}
	return nil
}

// String is the identity's URI; "anonymous" for a peer without a certificate.
func (id Identity) String() string {
	switch id.Role {
	case RoleAnonymous:
		return string(RoleAnonymous)
	case RoleControlPlane:
		return uriPrefix + string(id.Role)
	default:
		return uriPrefix + string(id.Role) + "/" + id.Name
	}
}

// URI is the identity as a certificate carries it.
func (id Identity) URI() *url.URL {
	return &url.URL{Scheme: "spiffe", Host: "understudy",
		Path: strings.TrimPrefix(id.String(), "spiffe://understudy")}
}
