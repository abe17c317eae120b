//go:build lab

package faults

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/understudy-db/understudy/deploy/stack"
)

// otherSchema is where the writer of a row's own primary writes.
const otherSchema = "probe"

// another makes a primary that is the row's own, written to all along like the first one; it is
// taken away after the row.
func (l *lab) another(flags ...string) string {
	l.t.Helper()
	name := l.unwritten(flags...)
	l.writes(name)
	return name
}

// unwritten makes a primary that is the row's own, without a writer.
func (l *lab) unwritten(flags ...string) string {
	l.t.Helper()
	l.names++
	name := fmt.Sprintf("p%d", l.names)
	l.run(append([]string{"server", "create", name}, flags...)...)
	return name
}

// writes starts a writer on a row's own primary.
func (l *lab) writes(name string) {
	l.t.Helper()
	account, err := l.NewAccount(l.t.Context(), name, "", otherSchema)
	if err != nil {
		l.t.Fatal(err)
	}
	account.Socket = l.socket(name)
	writer, err := stack.StartWriter(context.Background(), account, 20*time.Millisecond)
	if err != nil {
		l.t.Fatal(err)
	}
	l.others[name] = writer
}

// quiet ends the writer of a row's own primary.
func (l *lab) quiet(name string) {
	l.t.Helper()
	if _, err := l.others[name].Stop(); err != nil {
		l.t.Errorf("%s refused a write: %v", name, err)
	}
	delete(l.others, name)
}

// quietAll ends the writers of all primaries that rows have made.
func (l *lab) quietAll() {
	l.t.Helper()
	for _, name := range slices.Collect(maps.Keys(l.others)) {
		l.quiet(name)
	}
}

// schemaOf is the one that a primary's writer writes to.
func (l *lab) schemaOf(source string) string {
	if source == primary {
		return l.schema()
	}
	return otherSchema
}

// goesOnWriting waits for commits of each writer.
func (w *world) goesOnWriting() {
	w.t.Helper()
	for name, writer := range w.writersByHost() {
		before := writer.Commits()
		w.eventually(2*time.Minute, name+" takes writes",
			func() bool { return writer.Commits() > before+2 })
	}
}

func (w *world) writersByHost() map[string]*stack.Writer {
	all := maps.Clone(w.others)
	if w.writer != nil {
		all[primary] = w.writer
	}
	return all
}
