package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// deleteVerb is a verb that shows the user what a resource is, asks, and deletes what it showed.
// Read returns the resource and a sentence about its end.
func deleteVerb[Q interface {
	proto.Message
	GetName() string
	GetEtag() string
}, P jobAnswer, R interface{ GetEtag() string }](v *verb[Q], call rpc[Q, P],
	read func(ctx context.Context, a *api, name string) (R, error),
	warning func(R) string) *cobra.Command {
	prepare, stale := confirmed(v, read, warning)
	return jobVerb(v, call, jobParts{prepare: prepare, stale: stale})
}

// confirmed has a verb show the user what a resource is, and ask; the request is for what was
// shown: prepare does so before the call. Where nothing is shown, a record that changed between
// read and call is stale, and is read again.
func confirmed[Q interface {
	proto.Message
	GetName() string
	GetEtag() string
}, R interface{ GetEtag() string }](v *verb[Q],
	read func(ctx context.Context, a *api, name string) (R, error),
	warning func(R) string) (prepare func(context.Context, *api) error, stale func(error) bool) {
	var yes, given bool
	v.later = []string{"etag"}
	v.flag("etag", "etag", "go on only while the record has this `ETAG`",
		"the one that is shown")
	v.cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	asks := func() bool { return !yes && !v.is("validate_only") }
	v.mustAsk(asks)
	v.checks = append(v.checks, func() error {
		given = v.req.GetEtag() != ""
		return nil
	})
	prepare = func(ctx context.Context, a *api) error {
		shown, err := read(ctx, a, v.req.GetName())
		if err != nil {
			return err
		}
		if !given {
			setField(v.req, "etag", protoreflect.ValueOfString(shown.GetEtag()))
		}
		if !asks() {
			return nil
		}
		return v.cli.ask(ctx, warning(shown), show.ID(v.req.GetName()))
	}
	return prepare, func(err error) bool {
		return !given && !asks() && errs.ReasonOf(err) == errorsv1.Reason_REASON_ETAG_MISMATCH
	}
}

// mustAsk refuses to go on without a terminal when the verb has to ask.
func (v *verb[Q]) mustAsk(asks func() bool) {
	v.checks = append(v.checks, func() error {
		if !asks() || v.cli.canAsk() {
			return nil
		}
		return usageError{message: "cannot ask for confirmation: there is no terminal",
			hint: "confirm with --yes"}
	})
}

func (c *cli) canAsk() bool { return terminal(c.Stdin) != nil && terminal(c.Stderr) != nil }

// ask wants the id typed.
func (c *cli) ask(ctx context.Context, warning, id string) error {
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

// confirms adds the flag that confirms the loss of data, and says how to fill it in: with the name
// of what may be deleted and the etag that it has now.
func confirms[Q proto.Message](v *verb[Q],
	set func(*cpv1.DeleteConfirmation)) func(context.Context, *api) error {
	var name string
	v.cmd.Flags().StringVar(&name, "yes-delete", "",
		"confirm that the data of the server `NAME`, or of snapshots/NAME, may be deleted")
	v.cli.completeFlag(v.cmd, "yes-delete", serverIDs)
	return func(ctx context.Context, a *api) error {
		if name == "" {
			return nil
		}
		if strings.HasPrefix(name, snapshotKind+"/") {
			s, err := getSnapshot(ctx, a, name)
			set(&cpv1.DeleteConfirmation{Name: s.GetName(), Etag: s.GetEtag()})
			return err
		}
		s, err := getServer(ctx, a, serverKind+"/"+strings.TrimPrefix(name, serverKind+"/"))
		set(&cpv1.DeleteConfirmation{Name: s.GetName(), Etag: s.GetEtag()})
		return err
	}
}

func dash(text string) string { return envOr(show.Clean(text), "-") }
