//go:build lab

package faults

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	// long rows are begun first, so that nobody waits for them at the end.
	long bool
	// alone says that nothing else may run on this box meanwhile.
	alone bool
	// only is the provider that the fault can be planted at; empty: each.
	only string
	// run plants the fault, runs what it strikes, and checks what is to happen. The invariants are
	// checked after it.
	run func(l *lab)

	result
}

// result is how a row ended.
type result struct {
	Outcome string        `json:"outcome"`
	Took    time.Duration `json:"took"`
	Longest time.Duration `json:"longest"` // that a commit on the primary took
}

func (r *row) name() string { return r.id + "/" + strings.ReplaceAll(r.variant, " ", "_") }

const asExpected = "as expected"

// TestFaults runs the matrix on some labs at a time, the rows that need the box for themselves at
// the end.
func TestFaults(t *testing.T) {
	runMatrix(t, providerName(), chosen(matrixOf(providerName())))
}

func runMatrix(t *testing.T, provider string, rows []row) {
	past := openResults(t, rows)
	queue, alone := make(chan *row, len(rows)), make(chan *row, len(rows))
	order := make([]*row, 0, len(rows))
	for i := range rows {
		order = append(order, &rows[i])
	}
	slices.SortStableFunc(order, func(a, b *row) int { return cmp.Compare(rank(a), rank(b)) })
	for _, r := range order {
		switch {
		case r.Outcome == asExpected:
		case r.alone:
			alone <- r
		default:
			queue <- r
		}
	}
	close(queue)
	close(alone)
	var labs sync.WaitGroup
	for i := range labCount() {
		labs.Go(func() { runRows(t, fmt.Sprint(labName(), i+1), provider, queue, past) })
	}
	labs.Wait()
	runRows(t, labName()+"1", provider, alone, past)
	past.done(t, rows)
	show(t, rows, len(rows) == len(matrixOf(provider)))
}

func rank(r *row) int {
	if r.long {
		return 0
	}
	return 1
}

// chosen are the rows of this run: the quick ones, or all.
func chosen(rows []row) []row {
	if os.Getenv("FAULTS_ALL") != "" {
		return rows
	}
	return slices.DeleteFunc(rows, func(r row) bool { return !r.quick })
}

// runRows runs rows on one lab. A row that fails takes its lab with it: the next one gets a fresh
// one.
func runRows(t *testing.T, name, provider string, queue <-chan *row, past *results) {
	var l *lab
	down := func() {
		if l != nil {
			l.in(t).end()
			l = nil
		}
	}
	defer down()
	for r := range queue {
		good := t.Run(r.name(), func(t *testing.T) {
			r.Outcome = "FAILED"
			if l == nil {
				l = newLab(t, name, provider)
			}
			l.in(t).do(r)
			past.add(t, r)
		})
		if !good && l == nil {
			t.Errorf("no lab %s, no more rows on it", name)
			return
		}
		if !good {
			down()
		}
	}
}

// tellIll logs what is on record of each server that is not READY, and what its host says.
func (l *lab) tellIll() {
	db := l.store()
	defer db.Close()
	for _, found := range l.query(db, "SELECT name, doc FROM servers WHERE state <> 'READY'") {
		said, err := l.Exec(l.bg(), found[0], "journalctl", "--boot", "--no-pager", "--lines=60",
			"--unit="+mariadbUnit, "--unit=understudy-agent.service")
		l.t.Logf("%s: %s\n%s %v", found[0], found[1], said, err)
	}
}

// do runs a row, then holds the world to the invariants, and takes away what the row has made.
func (l *lab) do(r *row) {
	begin := time.Now()
	l.writer.Reset()
	defer func() {
		r.Took = time.Since(begin)
		if l.t.Failed() {
			l.t.Logf("the control plane's log:\n%s", lastLines(l.LogPath(), 100))
			l.tellIll()
			if l.overEC2() {
				l.t.Logf("the EC2 endpoint's log:\n%s",
					lastLines(filepath.Join(l.Config().Dir, "ec2.log"), 60))
			}
			return
		}
		r.Outcome = asExpected
	}()
	l.ready(primary)
	r.run(l)
	if l.standing != "" {
		l.ready(l.standing) // else the next row that uses it is the one to fail
		l.replicates(l.standing)
	}
	l.rest()
	l.check()
	l.tidy()
	r.Longest = l.writer.Longest()
}

func lastLines(path string, n int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(data)), "\n"),
		func(line string) bool {
			// a row that looks for what is left asks many times
			return strings.Contains(line, "/SweepProvider")
		})
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// show prints the table, and writes it to the page when all rows of the matrix were run.
func show(t *testing.T, rows []row, complete bool) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ROW\tVARIANT\tOUTCOME\tTIME")
	longest := time.Duration(0)
	for _, r := range rows {
		longest = max(longest, r.Longest)
		if complete = complete && r.Outcome != ""; r.Outcome != "" {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.id, r.variant, r.Outcome,
				r.Took.Round(100*time.Millisecond))
		}
	}
	w.Flush()
	t.Logf("the longest that a commit on the primary took: %s\n%s", longest.Round(time.Millisecond),
		text.String())
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
	fmt.Fprintf(&table, "\nThe longest that a commit on the primary took in all of it: **%s**.\n\n",
		longest.Round(10*time.Millisecond))
	table.WriteString("| row | variant | planted | what happens | why | outcome | time |\n| --- " +
		"| --- | --- | --- | --- | --- | --- |\n")
	for _, r := range rows {
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s | %s | %.0f s |\n", r.id, r.variant,
			r.planted, r.happens, r.why, r.Outcome, r.Took.Seconds())
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
	for _, part := range [][]row{
		snapshotRows(), hostRows(), filesystemRows(), copyRows(), completeRows(),
		optionRows(), proofRows(), powerRows(), versionRows(), healthRows(),
		replicationRows(), sourceRows(), accountRows(), catchUpRows(), crashRows(), planeRows(),
		quiesceRows(), networkRows(), clockRows(), cancelRows(), storeRows(), machineRows(),
		requestRows(), stateRows(), volumeRows(), rebuildRows(), occupiedRows(), purgeRows(),
		growRows(), rebootRows(), stopRows(),
		lossyRows(), adoptRows(), lineageRows(),
	} {
		all = append(all, part...)
	}
	slices.SortStableFunc(all, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.place(), b.place()), cmp.Compare(a.number(), b.number()))
	})
	return all
}

// place and number order the rows as the design lists them.
func (r row) place() int { return strings.Index("SHRCEFV", r.id[:1]) }

func (r row) number() int {
	n, err := strconv.Atoi(r.id[1:])
	if err != nil {
		panic(err) // a row of this package is misnamed
	}
	return n
}

// labName tells runs apart that go on at a time on one box.
func labName() string {
	if name := os.Getenv("FAULTS_LAB"); name != "" {
		return name
	}
	return "m"
}

// labCount is how many labs run rows at a time.
func labCount() int {
	if n, err := strconv.Atoi(os.Getenv("FAULTS_LABS")); err == nil && n > 0 {
		return n
	}
	return 1
}
