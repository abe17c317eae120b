package scope

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/service/wire"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	servers   = "servers/"
	snapshots = "snapshots/"
	jobs      = "jobs/"
)

// Config is what a guard needs, all of it.
type Config struct {
	// Scope is the servers that a caller works with; empty for who works with all.
	Scope func(caller identity.Peer) inventory.Scope
	// Job reads a job.
	Job func(ctx context.Context, id string) (job.Job, error)
	// Source is the server that a snapshot is of.
	Source func(ctx context.Context, snapshot string) (server string, err error)
	// Primary is the primary on record of a server; empty for one without, or without a record.
	Primary func(ctx context.Context, server string) (string, error)
}

// Guard holds callers to their scopes.
type Guard struct {
	cfg   Config
	rules map[string]Rule
}

// New makes a guard.
func New(cfg Config) *Guard { return &Guard{cfg: cfg, rules: Rules()} }

// enter refuses a request that names what its caller does not work with: what exists as if it did
// not, and what is to be made because of its name.
func (g *Guard) enter(ctx context.Context, method string, req proto.Message) error {
	caller, scope := identity.PeerOf(ctx), wire.ScopeOf(ctx)
	if len(scope) == 0 {
		return nil
	}
	rule := g.rules[method]
	if rule.isRefused() {
		return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
			fmt.Sprintf("%s may not call %s: it is about all servers", caller.Identity, method),
			errs.Meta("method", method),
			errs.WithHint("ask an operator who works with all servers"))
	}
	for _, field := range rule.fields() {
		for _, name := range texts(req.ProtoReflect(), field) {
			var err error
			switch server := strings.TrimPrefix(name, servers); {
			case field != rule.Makes:
				err = g.admit(ctx, scope, name, rule.Changes)
			case !scope.Has(server):
				err = outside(caller, field, name, scope)
			case rule.Changes:
				err = g.primaryInside(ctx, scope, server)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// scoped carries to the services which servers the caller works with, as is on record now.
func (g *Guard) scoped(ctx context.Context) context.Context {
	return wire.WithScope(ctx, g.cfg.Scope(identity.PeerOf(ctx)))
}

func outside(caller identity.Peer, field, name string, scope inventory.Scope) error {
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
		fmt.Sprintf("%s works with other servers than %s", caller.Identity, name),
		errs.Field(field, "must match one of "+strings.Join(scope, ", ")),
		errs.WithHint("choose a name that matches one of "+strings.Join(scope, ", ")))
}

// admit refuses a resource that is of a server outside, and one that is not there, in the same
// words.
func (g *Guard) admit(ctx context.Context, scope inventory.Scope, name string,
	changes bool) error {
	of, touched, err := g.serversOf(ctx, name)
	if err != nil && !errors.Is(err, errs.NotFound) {
		return err
	}
	if changes {
		of = touched
	}
	if len(of) == 0 {
		return missing(name)
	}
	for _, server := range of {
		if !scope.Has(server) {
			return missing(name)
		}
		if !changes {
			continue
		}
		if err := g.primaryInside(ctx, scope, server); err != nil {
			return err
		}
	}
	return nil
}

// primaryInside refuses a replica of a primary outside.
func (g *Guard) primaryInside(ctx context.Context, scope inventory.Scope, server string) error {
	primary, err := g.cfg.Primary(ctx, server)
	if err != nil || primary == "" || scope.Has(primary) {
		return err
	}
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
		fmt.Sprintf("the primary of %s is not among the servers that you work with", server),
		errs.WithHint("ask an operator who works with both"))
}

func missing(name string) error {
	kind, id, _ := strings.Cut(name, "/")
	switch kind + "/" {
	case jobs:
		return job.NotFound(id)
	case snapshots:
		return inventory.NotFound(errs.WithHint("name one that exists",
			errs.Call("ListSnapshots")), "there is no snapshot %s", id)
	default:
		return inventory.NotFound(errs.WithHint("name one that exists",
			errs.Call("ListServers")), "there is no server %s", id)
	}
}

// serversOf are the servers that a resource is of, and those that a change of it touches. There are
// none for what is of no server.
func (g *Guard) serversOf(ctx context.Context, name string) (of, touched []string, err error) {
	kind, id, _ := strings.Cut(name, "/")
	switch kind + "/" {
	case servers:
		return []string{id}, []string{id}, nil
	case snapshots:
		source, err := g.cfg.Source(ctx, id)
		return []string{source}, []string{source}, err
	case jobs:
		found, err := g.cfg.Job(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		of, touched = serversOfJob(found)
		return of, touched, nil
	}
	return nil, nil, nil
}

// texts are the values of a field that names something, "server.name" in a message within, but
// empty ones.
func texts(msg protoreflect.Message, path string) (all []string) {
	name, rest, nested := strings.Cut(path, ".")
	field := msg.Descriptor().Fields().ByName(protoreflect.Name(name))
	switch {
	case nested:
		return texts(msg.Get(field).Message(), rest)
	case field.IsList():
		for i := range msg.Get(field).List().Len() {
			all = append(all, msg.Get(field).List().Get(i).String())
		}
		return all
	case text(msg, name) == "":
		return nil
	}
	return []string{text(msg, name)}
}

func text(msg protoreflect.Message, field string) string {
	return msg.Get(msg.Descriptor().Fields().ByName(protoreflect.Name(field))).String()
}
