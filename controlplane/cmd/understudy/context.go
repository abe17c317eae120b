package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const contextLong = `A context is a control plane with its address and the credentials to call it,
under a name of your own. The current one is used when nothing else says where
the control plane is. What says so first counts:

  1. --address and --credentials, each for itself
  2. --context
  3. UNDERSTUDY_ADDRESS and UNDERSTUDY_CREDENTIALS, each for itself
  4. UNDERSTUDY_CONTEXT
  5. the current context
  6. the defaults of the control plane's own host

Contexts are in ~/.config/understudy/contexts.yaml (XDG_CONFIG_HOME). Files that
others can read are not used. Commands renew the certificate of the operator
when less than half of its life is left, and for a while after its end.`

func newContext(c *cli) *cobra.Command {
	return group("context", "Choose the control plane that commands call", contextLong,
		newContextAdd(c), newContextUse(c), newContextList(c), newContextRenew(c),
		newContextRemove(c))
}

// contextVerb is a command on the user's own contexts: nothing is sent.
func contextVerb(c *cli, cmd *cobra.Command,
	run func(ctx context.Context, all contexts, args []string) error) *cobra.Command {
	cmd.Args = takes(cmd.Use)
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]cobra.Completion,
		cobra.ShellCompDirective) {
		return contextNames(c), cobra.ShellCompDirectiveNoFileComp
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c.running, c.current = true, cmd
		all, err := readContexts(c.World)
		if err != nil {
			return err
		}
		return run(cmd.Context(), all, args)
	}
	return cmd
}

// contextNames are the names of the contexts, in order.
func contextNames(c *cli) []string {
	all, _ := readContexts(c.World) // a shell is no place for errors
	return slices.Sorted(maps.Keys(all.Contexts))
}

var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

func newContextAdd(c *cli) *cobra.Command {
	cmd := contextVerb(c, &cobra.Command{
		Use: "add NAME --credentials FILE", Short: "Add a control plane, and try to call it",
		Long: `Add a control plane under a name, and try to call it: nothing is added when that
fails. The first context becomes the current one.

--credentials is the file that "operator create" wrote, which is copied and can
be deleted then; or a folder with ca.pem, cert.pem and key.pem, which is used
where it is. --address is needed when the file names none, or another one.`,
		Example: `  understudy context add prod --credentials alice.json
  understudy context add prod --credentials alice.json --address cp.example.com:7440
  understudy context add lab --credentials /var/lib/understudy/operator --address 127.0.0.1:7440`,
	}, func(ctx context.Context, all contexts, args []string) error {
		return addContext(ctx, c, all, args[0])
	})
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	return cmd
}

func addContext(ctx context.Context, c *cli, all contexts, name string) error {
	switch err := all.free(name); {
	case !contextName.MatchString(name):
		return usageError{message: "NAME must be letters, digits, dots, dashes and underscores"}
	case err != nil:
		return err
	case !c.flags.credentialsFlag.Changed:
		return usageError{message: "--credentials is required",
			hint: "name a file that `understudy operator create` wrote on the control plane's host"}
	}
	made, err := placeCredentials(c, name)
	if err == nil {
		all, err = addCallable(ctx, c, name, made)
	}
	if err != nil {
		if made {
			err = errors.Join(err, os.RemoveAll(c.flags.credentials))
		}
		return fmt.Errorf("cannot add context %s: %w", name, err)
	}
	return printContexts(c, all, name)
}

// addCallable adds what the flags describe once a call of it succeeded.
func addCallable(ctx context.Context, c *cli, name string, copied bool) (contexts, error) {
	if err := c.call(ctx, func(ctx context.Context, a *api) error {
		_, err := a.ListJobs(ctx, &cpv1.ListJobsRequest{PageSize: 1})
		return err
	}); err != nil {
		return contexts{}, err
	}
	return changeContexts(c.World, func(all *contexts) error {
		all.Current = envOr(all.Current, name)
		err := all.free(name) // another command may have added it meanwhile
		all.Contexts[name] = target{Address: c.flags.address, Credentials: c.flags.credentials,
			Copied: copied}
		return err
	})
}

// free refuses a name that a context has.
func (all contexts) free(name string) error {
	if _, taken := all.Contexts[name]; taken {
		return usageError{message: "there is a context " + quote(name) + " already",
			hint: "use another name, or `understudy context remove " + name + "` first"}
	}
	return nil
}

// placeCredentials makes a folder of --credentials: the folder itself, or one of the context's own
// with what is in the file; then made is true.
func placeCredentials(c *cli, name string) (made bool, err error) {
	path, err := filepath.Abs(c.flags.credentials)
	if err != nil {
		return false, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return false, usageError{message: "cannot read --credentials: " + err.Error()}
	}
	if info.IsDir() {
		c.flags.credentials = path
		return false, nil
	}
	found, err := readCredentials(path)
	if err != nil {
		return false, err
	}
	if len(found.Addresses) > 0 && !c.flags.addressFlag.Changed {
		c.flags.address, c.flags.addressFlag.Changed = found.Addresses[0], true
	}
	dir := copiedCredentials(c.World, name)
	err = os.MkdirAll(filepath.Dir(dir), 0o700)
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return false, usageError{message: "there is " + dir + " already, which no context uses",
			hint: "move it away, or use another name"}
	}
	if err != nil {
		return false, usageError{message: "cannot write credentials: " + err.Error()}
	}
	c.flags.credentials = dir
	if err := found.unpack(dir); err != nil {
		return true, usageError{message: "cannot write credentials: " + err.Error()}
	}
	return true, nil
}

// copiedCredentials is the folder that "context add" makes for a context.
func copiedCredentials(w World, name string) string {
	return filepath.Join(configDir(w), "credentials", name)
}

func newContextUse(c *cli) *cobra.Command {
	return contextVerb(c, &cobra.Command{
		Use: "use NAME", Short: "Make a context the current one",
		Long: `Make a context the current one. Commands call its control plane, unless a flag
or the environment names another one.`,
		Example: "  understudy context use prod",
	}, func(_ context.Context, _ contexts, args []string) error {
		all, err := changeContexts(c.World, func(all *contexts) error {
			all.Current = args[0]
			_, err := all.named(args[0])
			return err
		})
		if err != nil {
			return err
		}
		return printContexts(c, all, args[0])
	})
}

func newContextList(c *cli) *cobra.Command {
	return contextVerb(c, &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the contexts",
		Long: `List the contexts with the operator that each one calls as, in which role, and
how long the certificate is valid. The current one has a star. No control plane
is called.`,
		Example: "  understudy context list\n  understudy context list -o json",
	}, func(_ context.Context, all contexts, _ []string) error {
		if len(all.Contexts) == 0 && !c.structured() {
			fmt.Fprintln(c.Stderr, "no contexts; `understudy context add NAME` adds one")
			return nil
		}
		return printContexts(c, all, slices.Sorted(maps.Keys(all.Contexts))...)
	})
}

func newContextRenew(c *cli) *cobra.Command {
	return contextVerb(c, &cobra.Command{
		Use: "renew", Short: "Renew the operator's certificate now",
		Long: `Renew the operator's certificate now, for the key that is in use. Commands do it
by themselves when less than half of its life is left, and after its end for as
long as the control plane allows (72 hours unless it says otherwise).`,
		Example: "  understudy context renew\n  understudy context renew --context prod",
	}, func(ctx context.Context, _ contexts, _ []string) error {
		return c.call(ctx, func(ctx context.Context, a *api) error {
			answer, err := renew(ctx, c, a)
			if err != nil {
				return fmt.Errorf("cannot renew the certificate in %s: %w", c.flags.credentials,
					err)
			}
			return c.print(answer, func(show.Style) string {
				return "the certificate is valid until " +
					stamp(answer.GetCertificate().GetExpireTime().AsTime()) + "\n"
			})
		})
	})
}

func newContextRemove(c *cli) *cobra.Command {
	return contextVerb(c, &cobra.Command{
		Use: "remove NAME", Aliases: []string{"rm"}, Short: "Remove a context",
		Long: `Remove a context, and the credentials that "context add" copied for it. The
control plane is not called: "operator revoke" makes them worthless.`,
		Example: "  understudy context remove prod",
	}, func(_ context.Context, _ contexts, args []string) error {
		name := args[0]
		var gone target
		_, err := changeContexts(c.World, func(all *contexts) (err error) {
			gone, err = all.named(name)
			delete(all.Contexts, name)
			if all.Current == name {
				all.Current = ""
			}
			return err
		})
		if err == nil && gone.Copied {
			err = removeCredentials(gone.Credentials)
		}
		if err == nil {
			c.say("removed context %s", name)
		}
		return err
	})
}

// contextFacts are what is known of a context here.
type contextFacts struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	target
	Operator string    `json:"operator,omitempty"`
	Role     string    `json:"role,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`
}

// printContexts shows some contexts as a table.
func printContexts(c *cli, all contexts, names ...string) error {
	var facts []contextFacts
	var rows [][]string
	for _, name := range names {
		fact := contextFacts{Name: name, Current: name == all.Current, target: all.Contexts[name]}
		valid := "no certificate"
		path := filepath.Join(fact.Credentials, "cert.pem")
		if cert, err := identity.ReadCertificate(path); err == nil {
			who, _ := identity.FromCertificate(cert) // what it is not, the control plane says
			fact.Operator, fact.Role = who.Name, string(who.Role)
			fact.Expires, valid = cert.NotAfter, "expired"
			if left := cert.NotAfter.Sub(c.Now()); left > 0 {
				valid = show.Duration(left)
			}
		}
		facts = append(facts, fact)
		rows = append(rows, []string{word(fact.Current, "*", " "), name, fact.Address,
			fact.Operator, fact.Role, valid, fact.Credentials})
	}
	if c.flags.output.value == "name" {
		_, err := fmt.Fprintln(c.Stdout, strings.Join(names, "\n"))
		return err
	}
	return c.printFacts(map[string][]contextFacts{"contexts": facts}, show.Table(
		c.styleFor(c.Stdout), []string{" ", "NAME", "ADDRESS", "OPERATOR", "ROLE", "VALID",
			"CREDENTIALS"},
		rows, c.screen().Width))
}
