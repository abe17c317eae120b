// Package observability_test holds the board and the alert rules to the metrics that there are, and
// runs the rules in a real Prometheus.
package observability_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// labelsOf are the metrics of docs/metrics.md, which the registries' own tests hold equal to what
// is registered, with their labels.
func labelsOf(t *testing.T) map[string][]string {
	t.Helper()
	row := regexp.MustCompile("(?m)^\\| `(understudy_[a-z_]+)` \\| (.*?) \\|")
	metrics := map[string][]string{}
	for _, found := range row.FindAllStringSubmatch(string(read(t, "../../docs/metrics.md")), -1) {
		metrics[found[1]] = strings.FieldsFunc(found[2],
			func(r rune) bool { return strings.ContainsRune("`, ", r) })
	}
	if len(metrics) < 20 {
		t.Fatalf("docs/metrics.md lists %d metrics", len(metrics))
	}
	return metrics
}

// queries are the expressions of the board and of the rules, by where they are.
func queries(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Query string }
		}
	}
	if err := json.Unmarshal(read(t, "board.json"), &board); err != nil {
		t.Fatal(err)
	}
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			all["panel "+panel.Title+": "+target.Expr] = target.Expr
		}
	}
	for _, variable := range board.Templating.List {
		if strings.HasPrefix(variable.Query, "label_values") {
			all["variable "+variable.Name] = variable.Query
		}
	}
	for _, rule := range rules(t) {
		all["alert "+rule.Alert] = rule.Expr
	}
	return all
}

type rule struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal(read(t, "rules.yml"), &file); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

var (
	name      = regexp.MustCompile(`understudy_[a-z_]+`)
	selectors = regexp.MustCompile(`(understudy_[a-z_]+)\{([^}]*)\}`)
	label     = regexp.MustCompile(`([a-z_]+)\s*[=!]`)
	grouping  = regexp.MustCompile(`by \(([^)]*)\)`)
	series    = regexp.MustCompile(`_(bucket|count|sum)$`)
)

func TestQueriesNameMetricsThatThereAre(t *testing.T) {
	t.Parallel()
	metrics, used := labelsOf(t), map[string]bool{}
	find := func(text string) (string, []string, bool) {
		labels, there := metrics[text]
		if !there {
			text = series.ReplaceAllString(text, "")
			labels, there = metrics[text]
		}
		return text, labels, there
	}
	all := queries(t)
	if len(all) < 30 {
		t.Errorf("only %d queries were found", len(all))
	}
	for where, query := range all {
		known := []string{"le", "instance"}
		for _, found := range name.FindAllString(query, -1) {
			metric, labels, there := find(found)
			if !there {
				t.Errorf("%s: there is no metric %s", where, found)
			}
			used[metric] = true
			known = append(known, labels...)
		}
		for _, found := range selectors.FindAllStringSubmatch(query, -1) {
			_, labels, _ := find(found[1])
			for _, l := range label.FindAllStringSubmatch(found[2], -1) {
				if !slices.Contains(labels, l[1]) {
					t.Errorf("%s: %s has no label %s", where, found[1], l[1])
				}
			}
		}
		for _, found := range grouping.FindAllStringSubmatch(query, -1) {
			for l := range strings.SplitSeq(found[1], ",") {
				if !slices.Contains(known, strings.TrimSpace(l)) {
					t.Errorf("%s: no metric has label %s", where, l)
				}
			}
		}
	}
	for _, metric := range []string{"understudy_replica_sql_running", "understudy_server_state",
		"understudy_server_datadir_free_bytes", "understudy_agent_quiesce_blocked_seconds"} {
		if !used[metric] {
			t.Errorf("no query uses %s", metric)
		}
	}
}

func TestAlertsSayWhatToDo(t *testing.T) {
	t.Parallel()
	for _, r := range rules(t) {
		if r.Labels["severity"] != "warning" && r.Labels["severity"] != "critical" {
			t.Errorf("%s has severity %q", r.Alert, r.Labels["severity"])
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s has no summary or no description", r.Alert)
		}
	}
}
