//go:build lab

package faults

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// row is one fault: what is planted, what is to happen, and why that is right.
type row struct {
	id, variant           string
	planted, happens, why string
	// quick rows are part of every test run; the others of `make test-faults` alone.
	quick bool
	// run plants the fault, runs what it strikes, and checks what is to happen. The invariants are checked after it.
	run func(l *lab)

	outcome string
	took    time.Duration
}

// TestFaults runs the matrix, row after row, on one lab. A row that fails takes its lab with it: the next one gets a fresh one.
func TestFaults(t *testing.T) {
	rows := matrix()
	all := os.Getenv("FAULTS_ALL") != ""
	var l *lab
	longest := time.Duration(0)
	down := func() {
		if l != nil {
			longest = max(longest, l.longest)
			l.in(t).end()
			l = nil
		}
	}
	defer down()
	for i := range rows {
		r := &rows[i]
		if !all && !r.quick {
			continue
		}
		good := t.Run(r.id+"/"+strings.ReplaceAll(r.variant, " ", "_"), func(t *testing.T) {
			r.outcome = "FAILED"
			if l == nil {
				l = newLab(t, labName())
			}
			l.in(t).do(r)
		})
		if !good && l == nil {
			t.Fatal("no lab, no rows")
		}
		if !good {
			down()
		}
	}
	down()
	show(t, rows, longest)
}

// do runs a row, then holds the world to the invariants, and takes away what the row has made.
func (l *lab) do(r *row) {
	begin := time.Now()
	l.writer.Reset()
	defer func() {
		r.took = time.Since(begin)
		if l.t.Failed() {
			l.t.Logf("the control plane's log:\n%s", lastLines(l.LogPath(), 40))
			return
		}
		r.outcome = "as expected"
	}()
	r.run(l)
	l.rest()
	l.check()
	l.tidy()
	l.longest = max(l.longest, l.writer.Longest())
}

func lastLines(path string, n int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// show prints the table, and writes it to the page when all rows were run.
func show(t *testing.T, rows []row, longest time.Duration) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ROW\tVARIANT\tOUTCOME\tTIME")
	complete := true
	for _, r := range rows {
		if complete = complete && r.outcome != ""; r.outcome != "" {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.id, r.variant, r.outcome, r.took.Round(100*time.Millisecond))
		}
	}
	w.Flush()
	t.Logf("the longest that a commit on the primary took: %s\n%s", longest.Round(time.Millisecond), text.String())
	if page := os.Getenv("FAULTS_PAGE"); page != "" && complete {
		if err := writePage(page, rows, longest); err != nil {
			t.Error(err)
		}
	}
}

var marked = regexp.MustCompile(`(?s)(<!-- rows begin -->\n).*(<!-- rows end -->)`)

// writePage writes the table between the page's markers.
func writePage(page string, rows []row, longest time.Duration) error {
	data, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	var table strings.Builder
	fmt.Fprintf(&table, "\nThe longest that a commit on the primary took in all of it: **%s**.\n\n", longest.Round(10*time.Millisecond))
	table.WriteString("| row | variant | planted | what happens | why | outcome | time |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range rows {
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s | %s | %.0f s |\n", r.id, r.variant, r.planted, r.happens, r.why, r.outcome, r.took.Seconds())
	}
	table.WriteString("\n")
	if !marked.Match(data) {
		return fmt.Errorf("%s has no markers for the rows", page)
	}
	out := marked.ReplaceAllFunc(data, func(found []byte) []byte {
		parts := marked.FindSubmatch(found)
		return []byte(string(parts[1]) + table.String() + string(parts[2]))
	})
	return os.WriteFile(page, out, 0o644)
}

func matrix() []row {
	var all []row
	for _, part := range [][]row{snapshotRows(), hostRows(), copyRows(), replicationRows(), planeRows()} {
		all = append(all, part...)
	}
	return all
}

// labName tells runs apart that go on at a time on one box.
func labName() string {
	if name := os.Getenv("FAULTS_LAB"); name != "" {
		return name
	}
	return "m"
}
