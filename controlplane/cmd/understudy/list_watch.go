package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// watchEvery is how often a list is read again.
const watchEvery = time.Second

// redraw clears a terminal.
const redraw = "\x1b[H\x1b[2J"

// listWatch shows a list again and again: redrawn on a terminal, elsewhere what is new or
// changed alone.
type listWatch[Q proto.Message, P page, R proto.Message] struct {
	*list[Q, P, R]
	cli   *cli
	known map[string]bool
}

// run ends with ctx. While the control plane is away, it waits for it.
func (w *listWatch[Q, P, R]) run(ctx context.Context, a *api, req Q) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for away := false; ; {
		all, err := w.read(ctx, a, req)
		lost := err != nil && errs.KindOf(err) == errs.Unavailable && w.known != nil
		switch {
		case ctx.Err() != nil:
			return leftError{}
		case err == nil:
			err = w.show(all)
		case lost && !away:
			fmt.Fprintln(w.cli.Stderr, "the control plane cannot be reached: trying again")
		}
		if err != nil && !lost {
			return err
		}
		away = lost
		select {
		case <-ctx.Done():
			return leftError{}
		case <-ticker.C:
		}
	}
}

func (w *listWatch[Q, P, R]) show(all P) error {
	first := w.known == nil
	if w.cli.livelike() && !w.follow {
		w.known = map[string]bool{}
		w.cli.say("%s", redraw+w.table(w.cli, w.cli.styleFor(w.cli.Stdout), all))
		return nil
	}
	rows, news := w.rows(all), w.news(w.rows(all))
	if w.cli.structured() {
		for _, i := range news {
			if err := w.cli.printLine(rows[i]); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := fmt.Fprint(w.cli.Stdout, w.lines(rows, news, first))
	return err
}

// lines are those of some records, laid out as in the table of all.
func (w *listWatch[Q, P, R]) lines(rows []R, some []int, head bool) string {
	style := w.cli.styleFor(w.cli.Stdout)
	if w.text != nil {
		return w.text(style, each(some, func(i int) R { return rows[i] }))
	}
	all := strings.SplitAfter(table(w.cli, style, rows, w.columns(rows)), "\n")
	lines := each(some, func(i int) string { return all[i+1] })
	if head {
		lines = append(all[:1], lines...)
	}
	return strings.Join(lines, "")
}

// news are the records that are new or differ from what was shown, the oldest first when they are
// followed.
func (w *listWatch[Q, P, R]) news(rows []R) (some []int) {
	now := map[string]bool{}
	for i, r := range rows {
		key := w.key(r)
		if !w.known[key] {
			some = append(some, i)
		}
		now[key] = true
	}
	w.known = now
	if w.follow {
		slices.Reverse(some)
	}
	return some
}

// key is what counts of a record: what was observed just now is no news.
func (w *listWatch[Q, P, R]) key(r R) string {
	key := ""
	for _, col := range w.columns([]R{r}) {
		value, desc := valueAt(r, col.path)
		if desc != nil && !desc.IsList() && desc.Message() != nil {
			if t, ok := value.Message().Interface().(*timestamppb.Timestamp); ok && w.follow {
				key += t.String()
			}
			continue
		}
		key += col.cell(show.Plain(show.ASCII()), r, stamp) + "\x00"
	}
	return key
}
