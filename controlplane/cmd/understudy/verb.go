package main

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/limits"
)

// fieldOf is the annotation of a flag with the path of the field that it sets.
const fieldOf = "understudy.field"

// verb is a command that makes a request: its flags and arguments set the request's fields, and
// what the proto file says of the fields is its help and its errors.
type verb[Q proto.Message] struct {
	cli *cli
	cmd *cobra.Command
	req Q
	// fields are what the arguments set, in their order.
	fields []string
	// later are required fields that the verb itself sets when the user did not.
	later []string
	// checks look at what was given before anything is sent.
	checks []func() error
}

// newVerb makes a verb of a command whose arguments, in capitals in its usage line, set fields.
func newVerb[Q proto.Message](c *cli, req Q, cmd *cobra.Command, fields ...string) *verb[Q] {
	v := &verb[Q]{cli: c, cmd: cmd, req: req, fields: fields}
	cmd.Args, cmd.Annotations = takes(cmd.Use), map[string]string{}
	var each []suggest
	for i, path := range fields {
		each = append(each, suggestionsFor(v.field(path)))
		cmd.Annotations[path] = argumentsOf(cmd.Use)[i]
	}
	if cmd.Name() == "create" && slices.Contains(fields, "name") { // which must be a new one
		each = nil
	}
	cmd.ValidArgsFunction = c.complete(each...)
	return v
}

func (v *verb[Q]) field(path string) *field { return newField(v.req, path, v.cli.Now) }

// flag adds a flag that sets a field. Absent says in its help what holds without it, where the
// proto file does not.
func (v *verb[Q]) flag(path, name, help string, absent ...string) {
	f := v.field(path)
	flag := v.cmd.Flags().VarPF(f, name, "", f.help(help, strings.Join(absent, "")))
	flag.Annotations = map[string][]string{fieldOf: {path}}
	if f.desc.Kind() == protoreflect.BoolKind {
		flag.NoOptDefVal = "true"
	}
	if words := f.words(); len(words) > 0 {
		mustComplete(v.cmd, name, words)
	} else if suggested := suggestionsFor(f); suggested != nil {
		v.cli.completeFlag(v.cmd, name, suggested)
	}
}

// is says whether a switch of the request is on.
func (v *verb[Q]) is(path string) bool {
	desc := v.req.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(path))
	return desc != nil && v.req.ProtoReflect().Get(desc).Bool()
}

// requestID is the id of the request, a new one when none was given; "" when it takes none.
func (v *verb[Q]) requestID() string {
	msg := v.req.ProtoReflect()
	desc := msg.Descriptor().Fields().ByName("request_id")
	if desc == nil {
		return ""
	}
	if msg.Get(desc).String() == "" {
		msg.Set(desc, protoreflect.ValueOfString(uuid.NewString()))
	}
	return msg.Get(desc).String()
}

// out adds --out, which a verb that writes a file must have.
func (v *verb[Q]) out() *string {
	out := v.cmd.Flags().String("out", "", "`FILE` to write, - for standard output (required)")
	v.checks = append(v.checks, func() error {
		if *out == "" {
			return usageError{message: "--out is required",
				hint: "name the file to write, or - for standard output"}
		}
		return nil
	})
	return out
}

// lost notes how to find out about a request whose answer did not arrive.
func (v *verb[Q]) lost(err error) error {
	kind := errs.KindOf(err)
	if id := v.requestID(); id != "" && (kind == errs.Unavailable ||
		kind == errs.DeadlineExceeded) {
		return noted{err: err, note: "the request may have arrived; repeat it with --request-id " +
			id + ", which never starts it twice"}
	}
	return err
}

// does is the command, once it is known what it does with the control plane.
func (v *verb[Q]) does(use func(context.Context, *api) error) *cobra.Command {
	v.cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for i, arg := range args {
			if err := v.field(v.fields[i]).Set(arg); err != nil {
				return usageError{message: argumentsOf(cmd.Use)[i] + " " + err.Error()}
			}
		}
		v.requestID()
		for _, check := range append(v.checks, v.valid) {
			if err := check(); err != nil {
				return err
			}
		}
		v.cli.running = true
		return v.cli.call(cmd.Context(), use)
	}
	return v.cmd
}

// valid refuses what the control plane would refuse, by the same limits.
func (v *verb[Q]) valid() error {
	var faults []fieldProblem
	for _, f := range errs.FieldsOf(limits.Check(v.req)) {
		if !slices.Contains(v.later, f.Field) || !strings.HasPrefix(f.Why, "is required") {
			faults = append(faults, fieldProblem{f.Field, f.Why})
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return usageError{message: aboutFlags(v.cmd, faults)}
}

// answer is the verb that makes one call and shows its answer.
func answer[Q, P proto.Message](v *verb[Q], call rpc[Q, P],
	text func(show.Style, P) string) *cobra.Command {
	return v.does(func(ctx context.Context, a *api) error {
		answer, err := call(a, ctx, v.req)
		if err != nil {
			return v.lost(err)
		}
		return v.cli.print(answer, func(st show.Style) string { return text(st, answer) })
	})
}

// argumentsOf are the arguments of a usage line, in capitals.
func argumentsOf(use string) (names []string) {
	for _, word := range strings.Fields(use)[1:] {
		if strings.HasPrefix(word, "-") {
			break
		}
		names = append(names, strings.Trim(word, "[]"))
	}
	return names
}

// takes checks the number of arguments against the usage line; those in brackets may be left out.
func takes(use string) cobra.PositionalArgs {
	names := argumentsOf(use)
	return func(_ *cobra.Command, args []string) error {
		if len(args) > len(names) {
			return usageError{message: "unexpected argument " + quote(args[len(names)])}
		}
		if len(args) < len(names) && !strings.Contains(use, "["+names[len(args)]+"]") {
			return usageError{message: names[len(args)] + " is required"}
		}
		return nil
	}
}
