package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const (
	// pageSize is how many records one call asks for.
	pageSize = 500
	// defaultLimit is how many jobs and events are listed: these lists grow for ever.
	defaultLimit = 50
)

// pages reads a list page by page, at most limit records; 0 means all. The token is that of the
// page that was not read.
func pages[R any](limit int, read func(size int32, token string) ([]R, string, error)) (all []R,
	token string, err error) {
	for {
		size := pageSize
		if limit > 0 {
			size = min(size, limit-len(all))
		}
		page, next, err := read(int32(size), token)
		if err != nil {
			return nil, "", err
		}
		all = append(all, page...)
		if token = next; token == "" || limit > 0 && len(all) >= limit {
			return all, token, nil
		}
	}
}

// filterFlags narrow a list; each list has some of them.
type filterFlags struct {
	cli          *cli
	on, of, text string
	all          bool
	since, until moment
	limit        count
}

// addOn adds the flag for the resource that jobs and events are about.
func (f *filterFlags) addOn(cmd *cobra.Command, kinds string) {
	cmd.Flags().StringVar(&f.on, "on", "", "only those about this `RESOURCE`: "+kinds)
	f.cli.completeFlag(cmd, "on", f.cli.subjectNames)
}

func (f *filterFlags) addOf(cmd *cobra.Command, what string) {
	cmd.Flags().StringVar(&f.of, "of", "", what)
	f.cli.completeFlag(cmd, "of", f.cli.serverIDs)
}

func (f *filterFlags) addAll(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVar(&f.all, "all", false, what)
}

func (f *filterFlags) addText(cmd *cobra.Command, where string) {
	cmd.Flags().StringVar(&f.text, "text", "", "only those with `TEXT` in "+where+", in any case")
}

func (f *filterFlags) addTimes(cmd *cobra.Command) {
	f.since.now, f.until.now = f.cli.Now, f.cli.Now
	cmd.Flags().Var(&f.since, "since",
		"only those since this time: 2h (ago), 2026-01-31 or 2026-01-31T15:04:05Z")
	cmd.Flags().Var(&f.until, "until", "only those before this time")
}

func (f *filterFlags) addLimit(cmd *cobra.Command) {
	f.limit = count{n: defaultLimit}
	cmd.Flags().Var(&f.limit, "limit", "show at most this many")
}

// subject is what --on names; "" when it was not given.
func (f *filterFlags) subject() (string, error) {
	if f.on == "" {
		return "", nil
	}
	return subjectName(f.on)
}

// server is what --of names; "" when it was not given.
func (f *filterFlags) server() (string, error) {
	if f.of == "" {
		return "", nil
	}
	return serverName(f.of)
}

// sayMore tells that a list was cut off.
func (f *filterFlags) sayMore(token string) {
	if token != "" && !f.cli.flags.output.json() {
		fmt.Fprintf(f.cli.Stderr, "only the newest %d are shown; --limit shows more\n", f.limit.n)
	}
}

// addEnums adds a flag that takes the words of an enum's values.
func addEnums[E enum.Enum](cmd *cobra.Command, values *enums[E], flag string) {
	name := strings.ToUpper(flag)
	cmd.Flags().Var(values, flag, "only `"+name+"`[,"+name+"...]: "+
		strings.Join(enum.Words[E](), ", "))
	mustComplete(cmd, flag, enum.Words[E]())
}

// enums is a flag with values of an enum, by their words.
type enums[E enum.Enum] struct{ values []E }

// String is empty: all such lists begin empty.
func (e *enums[E]) String() string { return "" }

// Type names the kind of value in help.
func (e *enums[E]) Type() string { return "WORD" }

// Set adds values.
func (e *enums[E]) Set(text string) error {
	for _, word := range strings.Split(text, ",") {
		value := enum.Of[E](strings.TrimSpace(word))
		if value == 0 {
			return fmt.Errorf("must be one of %s", strings.Join(enum.Words[E](), ", "))
		}
		e.values = append(e.values, value)
	}
	return nil
}

// moment is a flag with a point in time.
type moment struct {
	now  func() time.Time
	time time.Time
}

// String is the time; "" for none.
func (m *moment) String() string {
	if m.time.IsZero() {
		return ""
	}
	return m.time.Format(time.RFC3339)
}

// Type names the kind of value in help.
func (m *moment) Type() string { return "TIME" }

// Set takes a time, a day, or how long ago it was.
func (m *moment) Set(text string) error {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime,
		time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			m.time = t
			return nil
		}
	}
	ago, err := show.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("must be a time such as 2h, 7d, 2026-01-31 or 2026-01-31T15:04:05Z")
	}
	m.time = m.now().Add(-ago)
	return nil
}

// proto is the time in a request; nil for none.
func (m *moment) proto() *timestamppb.Timestamp {
	if m.time.IsZero() {
		return nil
	}
	return timestamppb.New(m.time)
}

// rows makes a row of each record.
func rows[T any](records []T, row func(T) []string) [][]string {
	lines := make([][]string, len(records))
	for i, r := range records {
		lines[i] = row(r)
	}
	return lines
}

// rowsOf is a line of each record.
func rowsOf[T any](records []T, line func(T) string) []string {
	lines := make([]string, len(records))
	for i, r := range records {
		lines[i] = line(r)
	}
	return lines
}

// filter is the records to keep.
func filter[T any](records []T, keep func(T) bool) []T {
	var kept []T
	for _, r := range records {
		if keep(r) {
			kept = append(kept, r)
		}
	}
	return kept
}

// subjectNames are the resources that jobs and events are about.
func (c *cli) subjectNames(ctx context.Context, a *api, _ []string) ([]cobra.Completion, error) {
	servers, err := allServers(ctx, a, &cpv1.ListServersRequest{})
	if err != nil {
		return nil, err
	}
	snapshots, err := a.snapshots.ListSnapshots(ctx, &cpv1.ListSnapshotsRequest{PageSize: pageSize})
	var all []cobra.Completion
	for _, s := range servers {
		all = append(all, show.Clean(s.GetName()))
	}
	for _, s := range snapshots.GetSnapshots() {
		all = append(all, show.Clean(s.GetName()))
	}
	return all, err
}
