// Package telemetrytest holds docs/metrics.md to the registries of both programs.
package telemetrytest

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Page holds a section of the page at path to what a collector describes with that prefix, or with
// update writes it.
func Page(t testing.TB, path, name, prefix string, c prometheus.Collector, update bool) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := section(string(old), name, table(metrics(c, prefix)))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case string(old) == want:
	case !update:
		t.Errorf("%s is not what the registry describes: run this test with -update", path)
	default:
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// metric is one metric as its registry describes it.
type metric struct {
	// Name is the metric's, without the suffixes of a histogram's series.
	Name string
	// Help says what it is.
	Help string
	// Labels are its labels, constant ones included.
	Labels []string
}

// metrics are all that a collector describes with that prefix, by name.
func metrics(c prometheus.Collector, prefix string) (all []metric) {
	described := make(chan *prometheus.Desc)
	go func() {
		c.Describe(described)
		close(described)
	}()
	for desc := range described {
		if m := metricOf(desc); strings.HasPrefix(m.Name, prefix) {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b metric) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// described is what a description prints: the library has no other way to read one.
var described = regexp.MustCompile(
	`fqName: "([^"]*)", help: ("(?:[^"\\]|\\.)*"),.* constLabels: \{(.*?)\}, ` +
		`variableLabels: \{(.*?)\}`)

func metricOf(desc *prometheus.Desc) metric {
	found := described.FindStringSubmatch(desc.String())
	if found == nil {
		return metric{}
	}
	m := metric{Name: found[1]}
	m.Help, _ = strconv.Unquote(found[2]) // it was quoted by the library
	for constant := range strings.SplitSeq(found[3], ",") {
		if name, _, is := strings.Cut(constant, "="); is {
			m.Labels = append(m.Labels, name)
		}
	}
	for label := range strings.SplitSeq(found[4], ",") {
		if label != "" {
			m.Labels = append(m.Labels, label)
		}
	}
	return m
}

// table is the metrics as a table of Markdown.
func table(all []metric) string {
	var out strings.Builder
	out.WriteString("| metric | labels | what it is |\n| --- | --- | --- |\n")
	for _, m := range all {
		labels := "" // none
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s |\n", m.Name, labels, m.Help)
	}
	return out.String()
}

// section replaces what is between two marks of a page, <!-- name --> and <!-- /name -->.
func section(page, name, content string) (string, error) {
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	before, rest, found := strings.Cut(page, begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return "", fmt.Errorf("cannot write section %s: the page lacks its marks", name)
	}
	return before + begin + content + end + after, nil
}
