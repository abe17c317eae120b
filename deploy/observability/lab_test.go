//go:build lab

package observability_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-db/understudy/deploy/stack"
)

// freeAddress is an address on loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// prometheus scrapes a control plane once a second by the rules as they are shipped, but for their
// patience. It ends with the test.
func prometheus(t *testing.T, scraped string) (address string) {
	t.Helper()
	dir, patience := t.TempDir(), regexp.MustCompile(`(?m)^( +for:) .*$`)
	rules := patience.ReplaceAllString(string(read(t, "rules.yml")), "$1 2s")
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
  - {job_name: understudy, static_configs: [{targets: ["%s"]}]}
`, scraped)
	for name, content := range map[string]string{"rules.yml": rules, "prometheus.yml": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address = freeAddress(t)
	var log strings.Builder
	cmd := exec.Command("prometheus", "--config.file", filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Prometheus's log:\n%s", log.String())
		}
	})
	return address
}

// firing are the alerts that fire, as "alert server".
func firing(t *testing.T, address string) []string {
	answer, err := http.Get("http://" + address + "/api/v1/alerts")
	if err != nil {
		return nil // it starts just now
	}
	defer answer.Body.Close()
	var body struct {
		Data struct {
			Alerts []struct {
				Labels map[string]string
				State  string
			}
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	all := []string{}
	for _, a := range body.Data.Alerts {
		if a.State == "firing" {
			all = append(all, strings.TrimSpace(a.Labels["alertname"]+" "+a.Labels["server"]))
		}
	}
	return all
}

// up tells that Prometheus has the control plane's metrics.
func up(t *testing.T, address string) bool {
	answer, err := http.Get("http://" + address + `/api/v1/query?query=understudy_build_info`)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusServiceUnavailable { // it listens before it has its data
		return false
	}
	var body struct{ Data struct{ Result []any } }
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return len(body.Data.Result) > 0
}

func eventually(t *testing.T, limit time.Duration, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	end := time.After(limit)
	for !is() {
		select {
		case <-end:
			t.Fatalf("not within %s: %s", limit, what)
		case <-tick.C:
		}
	}
}

// TestABrokenReplicaRaisesTheAlert breaks a real replica: a row that its primary deletes is not
// there (error 1032), and a real Prometheus says so.
func TestABrokenReplicaRaisesTheAlert(t *testing.T) {
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	metrics := freeAddress(t)
	cfg := stack.Config{Bin: bin, Name: "observe", Dir: "/var/lib/understudy-e2e/observe",
		ExtraArgs: []string{"--metrics", metrics}}
	s, err := stack.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err = stack.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := s.CLI(t.Context(), args...).CombinedOutput(); err != nil {
			t.Fatalf("understudy %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	sql := func(host, statements string) string {
		t.Helper()
		out, err := s.SQL(t.Context(), host, statements)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	run("server", "create", "db1")
	sql("db1", "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY) ENGINE=InnoDB; "+
		"INSERT INTO shop.t VALUES (1), (2)")
	run("replica", "create", "db2", "--of", "db1")
	address := prometheus(t, metrics)
	eventually(t, time.Minute, "Prometheus scrapes the control plane",
		func() bool { return up(t, address) })
	eventually(t, time.Minute, "no alert fires while all is well",
		func() bool { all := firing(t, address); return all != nil && len(all) == 0 })
	sql("db2", "SET SESSION sql_log_bin = 0; DELETE FROM shop.t WHERE id = 1")
	sql("db1", "SET SESSION binlog_format = ROW; DELETE FROM shop.t WHERE id = 1")
	const want = "UnderstudyReplicationStopped db2"
	eventually(t, time.Minute, want+" fires", func() bool {
		return strings.Contains(strings.Join(firing(t, address), ","), want)
	})
	if status := sql("db2", "SHOW REPLICA STATUS\\G"); !strings.Contains(status, "1032") {
		t.Errorf("the replica is broken by something else:\n%s", status)
	}
	sql("db2", "SET SESSION sql_log_bin = 0; INSERT INTO shop.t VALUES (1); START REPLICA")
	eventually(t, time.Minute, want+" ends", func() bool {
		return !strings.Contains(strings.Join(firing(t, address), ","), want)
	})
}
