//go:build lab

package e2e

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the store's driver
)

// plant leaves a secret somewhere, as a program that is careless would.
type plant struct {
	how    func(text string)
	places []string // beginnings of what the search has to say of it
}

// testPlaces plants a secret in each kind of place, and expects the search to find each.
func (r *secretsRun) testPlaces() {
	var wanted []string
	for i, p := range r.plants() {
		name, text := fmt.Sprintf("plant %d", i), "planted"+rand.Text()
		r.add(name, []string{text})
		p.how(text)
		for _, place := range p.places {
			wanted = append(wanted, name+" is in: "+place)
		}
	}
	// A key that is where it does not belong, and one that nobody has collected.
	r.exec("db1", "cp", "/etc/mysql/understudy/key.pem", "/srv/mariadb/key.pem")
	r.put("db2", "/tmp/other.pem", "-----BEGIN PRIVATE KEY-----\n")
	// The head of an ELF core, where the agent works.
	r.put("db1", "/var/lib/understudy-agent/core.7", "\x7fELF\x02\x01\x01"+
		strings.Repeat("\x00", 9)+"\x04\x00"+strings.Repeat("\x00", 46))
	wanted = append(wanted, "/etc/mysql/understudy/key.pem of db1 is in: db1:/srv/mariadb/key.pem",
		"a private key is in: db2:/tmp/other.pem",
		"all that a program had in memory is in: db1:/var/lib/understudy-agent/core.7")
	found := r.search()
	for _, want := range wanted {
		if !has(found, want) {
			r.t.Errorf("not found: %s", want)
		}
	}
	r.t.Logf("%d plants were found in:\n%s", len(wanted), strings.Join(found, "\n"))
}

func has(found []string, want string) bool {
	for _, f := range found {
		if strings.HasPrefix(f, want) {
			return true
		}
	}
	return false
}

func (r *secretsRun) plants() []plant {
	host := func(place string, how func(host, text string)) (all []plant) {
		for _, name := range secretHosts() {
			all = append(all, plant{func(text string) { how(name, text) },
				[]string{fmt.Sprintf(place, name)}})
		}
		return all
	}
	all := []plant{
		{r.plantArgument, []string{"the arguments of a process"}},
		{r.plantEnvironment, []string{"the environment of a process"}},
		{r.plantInStore, []string{"control plane:understudy.db"}},
		{func(text string) { r.appendTo(r.LogPath(), text) },
			[]string{"control plane:understudy.log"}},
		{r.plantStatement, []string{"db1:/var/lib/mysql/general.log", "db1:/var/lib/mysql/slow.log",
			"processlist of db1", "events_statements_history_long of db1",
			"events_statements_summary_by_digest of db1"}},
		{func(text string) { r.sql("db1", "CREATE DATABASE `"+text+"`") },
			[]string{"db1:" + r.sql("db1", "SELECT @@log_bin_basename") + ".0"}},
	}
	all = append(all, host("%s:/var/lib/understudy-agent/planted", func(host, text string) {
		r.put(host, "/var/lib/understudy-agent/planted", text)
	})...)
	all = append(all, host("%s:/tmp/planted", func(host, text string) {
		r.put(host, "/tmp/planted", text)
	})...)
	all = append(all, host("journal of %s", func(host, text string) {
		if out, err := r.fed(text, host, "systemd-cat"); err != nil {
			r.t.Error(out, err)
		}
		r.exec(host, "journalctl", "--sync")
	})...)
	return append(all, host("units of %s", func(host, text string) {
		unit := "[Service]\nType=oneshot\nEnvironment=PLANTED=" + text + "\nExecStart=/bin/true\n" +
			"RemainAfterExit=yes\n"
		r.put(host, "/run/systemd/system/planted.service", unit)
		r.exec(host, "systemctl", "start", "planted.service")
	})...)
}

func (r *secretsRun) plantArgument(text string) {
	if err := exec.CommandContext(r.t.Context(), "sh", "-c", "sleep 1; : "+text).Run(); err != nil {
		r.t.Error(err)
	}
}

func (r *secretsRun) plantEnvironment(text string) {
	cmd := exec.CommandContext(r.t.Context(), "sleep", "1")
	cmd.Env = []string{"PLANTED=" + text}
	if err := cmd.Run(); err != nil {
		r.t.Error(err)
	}
}

func (r *secretsRun) plantInStore(text string) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(r.dir, "understudy.db")+
		"?mode=rw&_pragma=busy_timeout(5000)")
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(r.t.Context(),
		"INSERT INTO facts (name, value) VALUES ('planted', ?)", text); err != nil {
		r.t.Error(err)
	}
}

func (r *secretsRun) appendTo(path, text string) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(text + "\n"); err != nil {
		r.t.Error(err)
	}
}

// plantStatement has a secret in a statement that runs for a while: as a name, since a digest has
// no values.
func (r *secretsRun) plantStatement(text string) {
	r.sql("db1", "SELECT SLEEP(1) AS `"+text+"`")
}
