package login

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// maxFile is how many bytes the groups file may have.
const maxFile = 1 << 20

// Groups say what who is in them may do.
type Groups []Group

// Group gives a role to who is in it.
type Group struct {
	// Group is its name, as ID tokens have it.
	Group string `yaml:"group"`
	// Role is what it gives.
	Role identity.Role `yaml:"role"`
	// Servers are patterns of the servers that the role is for; none for all.
	Servers []string `yaml:"servers"`
}

// ReadGroups reads the groups file. A file that others than its owner can write is refused, since
// they would say who the admins are.
func ReadGroups(file string) (Groups, error) {
	opened, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	info, err := opened.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", file)
	case info.Mode().Perm()&0o022 != 0:
		return nil, fmt.Errorf("%s can be written by others (mode %04o)", file,
			info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(opened, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", file, maxFile)
	}
	if err != nil {
		return nil, err
	}
	groups, err := parseGroups(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return groups, nil
}

func parseGroups(data []byte) (Groups, error) {
	var read struct {
		Groups Groups `yaml:"groups"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&read); err != nil {
		return nil, err
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one document in it")
	}
	if len(read.Groups) == 0 {
		return nil, errors.New("it has no groups: nobody could log in")
	}
	for i, group := range read.Groups {
		if err := group.check(); err != nil {
			return nil, fmt.Errorf("groups[%d]: %w", i, err)
		}
	}
	return read.Groups, nil
}

// pattern is what a server's name may be given as.
var pattern = regexp.MustCompile(`^[a-z0-9*][a-z0-9.*_-]{0,62}$`)

func (g Group) check() error {
	switch {
	case strings.TrimSpace(g.Group) == "":
		return errors.New("group is required")
	case !g.Role.IsOperator():
		return fmt.Errorf("role must be one of viewer, operator, admin, is %.40q", g.Role)
	case g.Role == identity.RoleAdmin && len(inventory.ScopeOf(g.Servers)) > 0:
		return errors.New("servers: an admin works with all servers")
	case g.Servers != nil && len(g.Servers) == 0:
		return errors.New(`servers: is empty; leave it out, or write "*", for all servers`)
	case len(g.Servers) > 50:
		return errors.New("servers: has more than 50 patterns")
	}
	for _, server := range g.Servers {
		if _, err := path.Match(server, ""); err != nil || !pattern.MatchString(server) {
			return fmt.Errorf("servers: %.80q is no name of a server, with * for any characters",
				server)
		}
	}
	return nil
}

// Of is what somebody in those groups may do: the greatest role that one of them gives, on all
// servers that the groups with this role give. Servers of a lesser role do not count.
func (g Groups) Of(groups []string) (role identity.Role, servers []string) {
	for _, group := range g {
		if !slices.Contains(groups, group.Group) {
			continue
		}
		patterns := group.Servers
		if len(inventory.ScopeOf(patterns)) == 0 {
			patterns = []string{inventory.AllServers}
		}
		switch {
		case role == group.Role:
			servers = append(servers, patterns...)
		case role == "" || group.Role.Gives(role):
			role, servers = group.Role, slices.Clone(patterns)
		}
	}
	if slices.Contains(servers, inventory.AllServers) {
		servers = []string{inventory.AllServers}
	}
	return role, servers
}

// Admit says what the person may do. The groups file is read each time. PERMISSION_DENIED with
// NO_ROLE.
func (l *Login) Admit(v Verified) (role identity.Role, servers []string, err error) {
	groups, err := ReadGroups(l.config.GroupsFile)
	if err != nil {
		l.config.Logger.Error("nobody can log in: the groups file cannot be used", "error", err)
		return "", nil, errs.New(errs.FailedPrecondition,
			errorsv1.Reason_REASON_LOGIN_NOT_CONFIGURED,
			"the groups file of the control plane cannot be used", errs.WithHint(
				"ask who runs the control plane: its log says what is wrong with oidc_groups_file"))
	}
	if role, servers = groups.Of(v.Groups); role != "" {
		return role, servers, nil
	}
	why := fmt.Sprintf("none of the %d groups of %s has a role here", len(v.Groups),
		v.Person.Shown)
	hint := "ask who runs the identity provider to put you into a group that may, or an admin " +
		"for credentials"
	switch {
	case v.left:
		why = "the identity provider left out the groups of " + v.Person.Shown + ": there are " +
			"too many of them"
		hint = "have it send the groups that are assigned to the client alone"
	case len(v.Groups) == 0:
		why = fmt.Sprintf("the ID token of %s names no groups in the claim %s", v.Person.Shown,
			l.config.GroupsClaim)
	}
	return "", nil, errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NO_ROLE, why,
		errs.WithHint(hint, errs.Call("CreateOperator")))
}
