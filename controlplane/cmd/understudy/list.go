package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
)

const (
	// pageSize is how many records one call asks for.
	pageSize = 500
	// defaultLimit is how many jobs and events are listed: these lists grow for ever.
	defaultLimit = 50
)

// page is the answer of a call that lists.
type page interface {
	proto.Message
	GetNextPageToken() string
}

// list is how a kind of records is listed. Q asks for a page P of records R.
type list[Q proto.Message, P page, R proto.Message] struct {
	call rpc[Q, P]
	rows func(P) []R
	// columns may depend on the records that are shown together.
	columns func([]R) []column[R]
	// text is in place of a table.
	text func(show.Style, []R) string
	// empty is said when there is nothing to show.
	empty string
	// newest lists grow for ever: --limit of them are shown, the newest first.
	newest bool
	// keep leaves out what the control plane cannot leave out; all is kept when nil.
	keep func(R) bool

	sort  string
	limit count
	watch bool
	// follow prints what is new behind what there is, the oldest first.
	follow bool
}

// command is the verb that lists.
func (l *list[Q, P, R]) command(v *verb[Q]) *cobra.Command {
	flags := v.cmd.Flags()
	flags.BoolVarP(&l.watch, "watch", "w", false, "go on showing it as it changes, until Ctrl-C")
	if l.newest {
		l.limit.n = defaultLimit
		flags.Var(&l.limit, "limit", "show at most this many")
	}
	l.addSort(v)
	return v.does(func(ctx context.Context, a *api) error {
		if l.watch || l.follow {
			watch := listWatch[Q, P, R]{list: l, cli: v.cli}
			return watch.run(ctx, a, v.req)
		}
		all, err := l.read(ctx, a, v.req)
		if err != nil {
			return err
		}
		if len(l.rows(all)) == 0 && !v.cli.structured() {
			fmt.Fprintln(v.cli.Stderr, l.empty)
			return nil
		}
		err = v.cli.print(all, func(st show.Style) string { return l.table(v.cli, st, all) })
		if all.GetNextPageToken() != "" && !v.cli.structured() {
			fmt.Fprintf(v.cli.Stderr, "only the newest %d are shown; --limit shows more\n",
				l.limit.n)
		}
		return err
	})
}

func (l *list[Q, P, R]) addSort(v *verb[Q]) {
	var words []string
	for _, col := range l.columns(nil) {
		words = append(words, strings.ToLower(col.head))
	}
	v.cmd.Flags().StringVar(&l.sort, "sort", "",
		"order by a `COLUMN`, "+words[0]+" or any other; with a dash in front the other way round")
	mustComplete(v.cmd, "sort", words)
	v.checks = append(v.checks, func() error {
		if l.sort == "" || slices.Contains(words, strings.TrimPrefix(l.sort, "-")) {
			return nil
		}
		return usageError{message: "--sort " + quote(l.sort) + " must be one of " +
			strings.Join(words, ", ")}
	})
}

// read is the whole list in one answer.
func (l *list[Q, P, R]) read(ctx context.Context, a *api, req Q) (all P, err error) {
	all, err = pages(ctx, a, l.call, req, l.limit.n)
	if err != nil {
		return all, err
	}
	if l.keep != nil {
		replace(all, slices.DeleteFunc(l.rows(all), func(r R) bool { return !l.keep(r) }))
	}
	word, reverse := strings.CutPrefix(l.sort, "-")
	for _, col := range l.columns(nil) {
		if strings.EqualFold(col.head, word) {
			slices.SortStableFunc(l.rows(all), func(a, b R) int {
				if reverse {
					a, b = b, a
				}
				return col.compare(a, b)
			})
		}
	}
	return all, nil
}

// table is the list as users read it.
func (l *list[Q, P, R]) table(c *cli, st show.Style, all P) string {
	rows := l.rows(all)
	if l.text != nil {
		return l.text(st, rows)
	}
	return table(c, st, rows, l.columns(rows))
}

// table are records as a table.
func table[R proto.Message](c *cli, st show.Style, rows []R, columns []column[R]) string {
	age := func(t time.Time) string { return show.Age(c.Now(), t) }
	var head []string
	cells := make([][]string, len(rows))
	for _, col := range columns {
		if col.wide && c.flags.output.value != "wide" {
			continue
		}
		head = append(head, col.head)
		for i, r := range rows {
			cells[i] = append(cells[i], col.cell(st, r, age))
		}
	}
	return show.Table(st, head, cells, c.screen().Width)
}

// pages reads a list page by page into one answer, at most limit records; 0 means all. The token is
// that of the page that was not read.
func pages[Q proto.Message, P page](ctx context.Context, a *api, call rpc[Q, P], req Q,
	limit int) (all P, err error) {
	for {
		size := pageSize
		if limit > 0 {
			size = min(size, limit-records(all))
		}
		setField(req, "page_size", protoreflect.ValueOfInt32(int32(size)))
		next, err := call(a, ctx, req)
		if err != nil {
			return all, err
		}
		token := next.GetNextPageToken()
		if !all.ProtoReflect().IsValid() {
			all = next
		} else {
			proto.Merge(all, next)
			setField(all, "next_page_token", protoreflect.ValueOfString(token))
		}
		setField(req, "page_token", protoreflect.ValueOfString(token))
		if token == "" || limit > 0 && records(all) >= limit {
			setField(req, "page_token", protoreflect.ValueOfString(""))
			return all, nil
		}
	}
}

func setField(msg proto.Message, name string, value protoreflect.Value) {
	fields := msg.ProtoReflect().Descriptor().Fields()
	msg.ProtoReflect().Set(fields.ByName(protoreflect.Name(name)), value)
}

// recordsOf is the field of an answer that holds its records.
func recordsOf(answer proto.Message) protoreflect.FieldDescriptor {
	fields := answer.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if field := fields.Get(i); field.IsList() && field.Message() != nil {
			return field
		}
	}
	return nil
}

func records(answer proto.Message) int {
	return answer.ProtoReflect().Get(recordsOf(answer)).List().Len()
}

// replace puts other records into an answer.
func replace[R proto.Message](answer proto.Message, rows []R) {
	list := answer.ProtoReflect().NewField(recordsOf(answer)).List()
	for _, r := range rows {
		list.Append(protoreflect.ValueOfMessage(r.ProtoReflect()))
	}
	answer.ProtoReflect().Set(recordsOf(answer), protoreflect.ValueOfList(list))
}

// filters adds the flags of the fields that narrow a list, those that its request has.
func filters[Q proto.Message](v *verb[Q], text string) {
	for _, f := range []struct{ path, flag, help string }{
		{"primary", "of", "only the replicas of `PRIMARY`"},
		{"server", "of", "only those of `SERVER`"},
		{"subject", "on", "only those about this `RESOURCE`: servers/NAME, snapshots/NAME or " +
			"jobs/NAME"},
		{"states", "state", "only `STATE`[,STATE...]"},
		{"kinds", "kind", "only `KIND`[,KIND...]"},
		{"created_after", "since",
			"only those since this `TIME`: 2h (ago), 2026-01-31 or 2026-01-31T15:04:05Z"},
		{"after", "since",
			"only those since this `TIME`: 2h (ago), 2026-01-31 or 2026-01-31T15:04:05Z"},
		{"created_before", "until", "only those before this `TIME`"},
		{"before", "until", "only those before this `TIME`"},
		{"text", "text", "only those with `TEXT` in " + text + ", in any case"},
	} {
		fields := v.req.ProtoReflect().Descriptor().Fields()
		if fields.ByName(protoreflect.Name(f.path)) != nil {
			v.flag(f.path, f.flag, f.help)
		}
	}
}

// each is what a function makes of each record.
func each[T, U any](records []T, of func(T) U) []U {
	made := make([]U, len(records))
	for i, r := range records {
		made[i] = of(r)
	}
	return made
}
