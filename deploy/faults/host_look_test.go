//go:build lab

package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-db/understudy/proto/gtid"
)

// quiesceLimit is how long the rows allow MariaDB to stay quiesced.
const quiesceLimit = 4 * time.Second

// host is what the checker found on a host.
type host struct {
	unit                 string // LoadState UnitFileState ActiveState of mariadb.service
	unitSource           string // What= of the mount unit
	device, uuid, nonce  string // at /srv/mariadb; the device as major:minor
	datadir              string // device and root of /var/lib/mysql
	made                 string // what the filesystem keeps from the day that it was made
	quiescing            string // units of Quiesce
	reservations, timers []string
	sql                  map[string]string // nil when MariaDB does not answer
}

// maybe runs a command on a host and returns what it printed, nothing when it fails: the checker
// looks at hosts in any state.
func (l *lab) maybe(host string, argv ...string) string {
	out, err := l.Exec(l.t.Context(), host, argv...)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

func (l *lab) lookAt(name string) *host {
	h := &host{
		unit: properties(l.maybe(name, "systemctl", "show",
			"--property=LoadState,UnitFileState,ActiveState", "mariadb.service"), "LoadState",
			"UnitFileState", "ActiveState"),
		unitSource: properties(l.maybe(name, "systemctl", "show", "--property=What",
			"srv-mariadb.mount"), "What"),
		quiescing: l.maybe(name, "systemctl", "list-units", "--no-legend", "--plain",
			"--state=active,activating,deactivating", "understudy-quiesce*"),
	}
	if unit := l.maybe(name, "cat", "/etc/systemd/system/srv-mariadb.mount"); unit != "" {
		h.unitSource = properties(unit, "What")
	}
	if at := strings.Fields(l.maybe(name, "findmnt", "--noheadings", "--output",
		"MAJ:MIN,UUID,SOURCE", "--mountpoint", "/srv/mariadb")); len(at) == 3 {
		h.device, h.uuid = at[0], at[1]
		h.nonce = l.maybe(name, "cat", "/srv/mariadb/.understudy/nonce")
		h.made = l.madeAs(name, at[2])
	}
	h.datadir = strings.Join(strings.Fields(l.maybe(name, "findmnt", "--noheadings", "--output",
		"MAJ:MIN,FSROOT", "--mountpoint", "/var/lib/mysql")), " ")
	for line := range strings.Lines(l.maybe(name, "systemctl", "list-units", "--no-legend",
		"--plain", "--type=timer", "understudy-unreserve-*")) {
		h.timers = append(h.timers, strings.Fields(line)[0])
	}
	var shelf struct {
		Reservations []struct{ ID string }
	}
	if text := l.maybe(name, "cat", "/var/lib/understudy-agent/reservations.json"); text != "" &&
		json.Unmarshal([]byte(text), &shelf) == nil {
		for _, r := range shelf.Reservations {
			h.reservations = append(h.reservations, r.ID)
		}
	}
	h.sql = l.ask(name)
	return h
}

// madeAs is what a filesystem keeps under any UUID: an ext4 the time when it was made, an XFS the
// UUID that it was made with.
func (l *lab) madeAs(name, device string) string {
	for line := range strings.Lines(l.maybe(name, "dumpe2fs", "-h", device)) {
		if made, ok := strings.CutPrefix(line, "Filesystem created:"); ok {
			return strings.TrimSpace(made)
		}
	}
	uuids := map[string]string{}
	for line := range strings.Lines(l.maybe(name, "xfs_db", "-r", "-c", "sb 0", "-c",
		"print uuid meta_uuid", device)) {
		key, value, _ := strings.Cut(line, " = ")
		uuids[key] = strings.TrimSpace(value)
	}
	if uuids["meta_uuid"] == "" || strings.Trim(uuids["meta_uuid"], "0-") == "" {
		return uuids["uuid"]
	}
	return uuids["meta_uuid"]
}

// properties are the values of KEY=value lines, in the order of the keys.
func properties(text string, keys ...string) string {
	found := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		found[key] = value
	}
	values := make([]string, len(keys))
	for i, key := range keys {
		values[i] = found[key]
	}
	return strings.Join(values, " ")
}

// ask asks a host's MariaDB how it is; nil when it does not answer.
func (l *lab) ask(name string) map[string]string {
	const variables = `SELECT 'read_only', @@read_only
		UNION ALL SELECT 'events', @@event_scheduler UNION ALL SELECT 'server_id', @@server_id
		UNION ALL SELECT 'binlog_state', @@gtid_binlog_state
		UNION ALL SELECT 'slave_pos', @@gtid_slave_pos
		UNION ALL SELECT 'expire', ROUND(@@expire_logs_days * 86400)`
	out, err := l.SQL(l.t.Context(), name, variables)
	if err != nil {
		return nil
	}
	answer := map[string]string{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		answer[key] = value
	}
	first, _, _ := strings.Cut(l.sql(name, "SHOW BINARY LOGS"), "\t")
	answer["oldest"] = l.sql(name, fmt.Sprintf("SELECT BINLOG_GTID_POS('%s', 4)", first))
	keys := map[string]string{"Slave_IO_Running": "io", "Slave_SQL_Running": "sql",
		"Last_IO_Error": "io_error", "Last_SQL_Error": "sql_error"}
	for line := range strings.Lines(l.replicaStatus(name)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if short, ok := keys[key]; ok {
			answer[short] = strings.TrimSpace(value)
		}
	}
	return answer
}

// replicaStatus is SHOW REPLICA STATUS, a line for each field.
func (l *lab) replicaStatus(name string) string {
	l.t.Helper()
	return l.exec(name, "mariadb", "--batch", "--execute", "SHOW REPLICA STATUS\\G")
}

// devicesOf are the devices of a provider's volume, as major:minor, found by its file on this box:
// the whole, and its partitions.
func (l *lab) devicesOf(volume string) []string {
	out, err := exec.Command("losetup", "--noheadings", "--output", "NAME,MAJ:MIN", "--associated",
		l.labDir("pool", "volumes", l.keptID(volume)+".img")).Output()
	fields := strings.Fields(string(out))
	if err != nil || len(fields) != 2 {
		l.t.Fatalf("volume %s has no device: %q, %v", volume, out, err)
	}
	all := fields[1:]
	partitions, _ := filepath.Glob("/sys/class/block/" + filepath.Base(fields[0]) + "p*/dev")
	for _, path := range partitions {
		if number, err := os.ReadFile(path); err == nil {
			all = append(all, strings.TrimSpace(string(number)))
		}
	}
	return all
}

// covers says whether one position has all of another.
func covers(has, wanted string) bool {
	a, errA := gtid.ParsePosition(has)
	b, errB := gtid.ParsePosition(wanted)
	return errA == nil && errB == nil && a.Contains(b)
}

// secretsKept looks for the secrets of each host, which it reads where they belong, in all that
// people and programs get to see.
func (w *world) secretsKept(bad func(string, ...any)) {
	var secrets []string
	for name := range w.hosts {
		if info := strings.Split(w.maybe(name, "cat", "/var/lib/mysql/master.info"),
			"\n"); len(info) > 5 && len(info[5]) > 8 {
			secrets = append(secrets, info[5])
		}
		for path, want := range map[string]string{
			"/etc/mysql/understudy/key.pem":                      "640 root:mysql",
			"/var/lib/understudy-agent/identity/current/key.pem": "600 root:root"} {
			if is := w.maybe(name, "stat", "--format=%a %U:%G", path); is != "" && is != want {
				bad("%s of %s is %s, not %s", path, name, is, want)
			}
			if key := strings.Split(w.maybe(name, "cat", path), "\n"); len(key) > 2 {
				secrets = append(secrets, key[1])
			}
		}
	}
	secrets = append(secrets, "PRIVATE KEY")
	w.filesWithout(secrets, bad)
	for place, text := range w.readable() {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				bad("%s has a secret in it", place)
			}
		}
	}
}

// filesWithout looks for the secrets in the logs of each host: of changes, errors and statements.
func (w *world) filesWithout(secrets []string, bad func(string, ...any)) {
	const files = "/var/lib/mysql/*-bin.0* /var/lib/mysql/*.log /var/lib/mysql/*.err " +
		"/run/understudy-agent"
	for name := range w.hosts {
		// by its input: what looks for a secret is an argument list too
		grep := w.Lab(w.t.Context(), "exec", name, "--", "sh", "-c", "grep --recursive "+
			"--files-with-matches --text --no-messages --fixed-strings --file=- "+files+"; true")
		grep.Stdin = strings.NewReader(strings.Join(secrets, "\n"))
		if found, _ := grep.Output(); len(found) > 0 {
			bad("these files of %s have a secret in them: %s", name, found)
		}
	}
}

// readable is what a secret must not be in: the store, the log, the journals, argument lists and
// environments.
func (w *world) readable() map[string]string {
	texts := map[string]string{}
	read := func(path string) {
		data, err := os.ReadFile(path)
		if err == nil { // a process may have ended meanwhile
			texts[path] = string(data)
		}
	}
	dir := filepath.Dir(w.Credentials())
	for _, file := range []string{"understudy.db", "understudy.db-wal", "understudy.log"} {
		read(filepath.Join(dir, file))
	}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		if comm, err := os.ReadFile(filepath.Join(p, "comm")); err == nil &&
			strings.HasPrefix(string(comm), "understudy") {
			read(filepath.Join(p, "cmdline"))
			read(filepath.Join(p, "environ"))
		}
	}
	for name := range w.hosts {
		texts["journal of "+name] = w.maybe(name, "journalctl", "--output=cat", "--no-pager")
	}
	return texts
}
