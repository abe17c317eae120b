package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// deleteFlags are those of commands that delete a resource.
type deleteFlags struct {
	startFlags
	yes  bool
	etag string
}

func (d *deleteFlags) add(cmd *cobra.Command) {
	d.startFlags.add(cmd)
	cmd.Flags().BoolVarP(&d.yes, "yes", "y", false, "do not ask")
	cmd.Flags().StringVar(&d.etag, "etag", "",
		"delete only while the record has this `ETAG` (default the one that is shown)")
}

// deletion is how a kind of resource is deleted.
type deletion struct {
	name string
	// read returns what is to be deleted, in a sentence, and its etag.
	read func(context.Context, *api) (warning, etag string, err error)
	// send asks for the deletion of the record with that etag.
	send func(ctx context.Context, a *api, etag string) (*cpv1.Job, error)
}

// delete asks the user, and deletes what it showed.
func (c *cli) delete(ctx context.Context, f *deleteFlags, d deletion) error {
	if err := c.mayAsk(f); err != nil {
		return err
	}
	return c.start(ctx, &f.startFlags, func(ctx context.Context, a *api) (*cpv1.Job, error) {
		warning, etag, err := d.read(ctx, a)
		if err != nil {
			return nil, err
		}
		if err := c.ask(ctx, f, warning, show.ID(d.name)); err != nil {
			return nil, err
		}
		return d.send(ctx, a, envOr(f.etag, etag))
	}, nil)
}

// mayAsk refuses where the user has to be asked and no terminal is there.
func (c *cli) mayAsk(f *deleteFlags) error {
	if f.yes || f.dryRun || terminal(c.Stdin) != nil && terminal(c.Stderr) != nil {
		return nil
	}
	return usageError{message: "cannot ask for confirmation: there is no terminal",
		hint: "confirm with --yes"}
}

// ask wants the id typed, unless nothing is done or --yes was given.
func (c *cli) ask(ctx context.Context, f *deleteFlags, warning, id string) error {
	if f.yes || f.dryRun {
		return nil
	}
	fmt.Fprintf(c.Stderr, "%s\nType %s to confirm: ", show.Clean(warning), id)
	answer := make(chan string, 1)
	go func() { // a read of a terminal cannot be interrupted: it ends with the program
		line, _ := bufio.NewReader(c.Stdin).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(c.Stderr)
		return ctx.Err()
	case said := <-answer:
		if said != id {
			return usageError{message: "not confirmed: nothing was changed"}
		}
		return nil
	}
}

// confirmation names what may be deleted, with the etag that it has now; nil when nothing may.
func (c *cli) confirmation(ctx context.Context, a *api,
	name string) (*cpv1.DeleteConfirmation, error) {
	if name == "" {
		return nil, nil
	}
	if strings.HasPrefix(name, snapshotKind+"/") {
		s, err := getSnapshot(ctx, a, name)
		return &cpv1.DeleteConfirmation{Name: s.GetName(), Etag: s.GetEtag()}, err
	}
	name, err := serverName(name)
	if err != nil {
		return nil, err
	}
	s, err := getServer(ctx, a, name)
	return &cpv1.DeleteConfirmation{Name: s.GetName(), Etag: s.GetEtag()}, err
}

func dash(text string) string { return envOr(show.Clean(text), "-") }
