//go:build lab

package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-db/understudy/deploy/stack"
)

// secret is a text that must be nowhere but in its homes.
type secret struct {
	name  string
	texts []string
	homes []string // patterns of places, path.Match's
}

// secretsRun is a lab with what was noted of its run.
type secretsRun struct {
	*lab
	dir string // of the control plane
	*noted
}

// noted is what the parts of a run have in common. Secrets are known later than what is sampled.
type noted struct {
	mu         sync.Mutex
	secrets    []secret
	processes  map[string]string          // arguments and environments, and whose they are
	statements map[string]map[string]bool // of SHOW PROCESSLIST, by host
	joinFiles  map[string]bool            // tokens of machines that the provider made
	looker     stack.Account
}

func newSecretsRun(l *lab) *secretsRun {
	l.t.Helper()
	r := &secretsRun{lab: l, dir: filepath.Dir(l.Credentials()),
		noted: &noted{processes: map[string]string{},
			statements: map[string]map[string]bool{}, joinFiles: map[string]bool{}}}
	// whatever nobody collected
	r.add("a private key", []string{"PRIVATE KEY-----"}, "control plane:ca/key.pem",
		"control plane:controlplane/key.pem", "control plane:operator/key.pem",
		"db?:/etc/ssl/private/*", "db?:/etc/ssh/ssh_host_*")
	r.secrets[0].homes = append(r.secrets[0].homes, hostKeys()...)
	r.add("all that a program had in memory", []string{coreMark})
	r.repeat(20*time.Millisecond, r.sampleBox)
	return r
}

// hostKeys are where an agent and MariaDB keep their keys.
func hostKeys() []string {
	return []string{"db?:/etc/mysql/understudy/key.pem",
		"db?:/var/lib/understudy-agent/identity/*/key.pem",
		"db?:/var/lib/understudy-agent/identity/*/mariadb/key.pem"}
}

func (r *secretsRun) in(l *lab) *secretsRun {
	return &secretsRun{lab: l, dir: r.dir, noted: r.noted}
}

// repeat goes on until the test ends.
func (r *secretsRun) repeat(pause time.Duration, do func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		beat := time.NewTicker(pause)
		defer beat.Stop()
		for ctx.Err() == nil {
			do()
			<-beat.C
		}
	}()
	r.t.Cleanup(func() { cancel(); <-done })
}

func (r *secretsRun) add(name string, texts []string, homes ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, text := range texts {
		if len(text) < 12 {
			r.t.Errorf("%s is too short to be looked for", name)
		}
	}
	for i := range r.secrets {
		if s := &r.secrets[i]; s.name == name {
			for _, text := range texts {
				if !slices.Contains(s.texts, text) {
					s.texts = append(s.texts, text)
				}
			}
			return
		}
	}
	r.secrets = append(r.secrets, secret{name, texts, homes})
}

// keyTexts are the forms of a private key that can be looked for: lines of its PEM, and its bytes.
// The third line of a key on P-256 is of its public half alone.
func keyTexts(text string) []string {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil
	}
	var texts []string
	for _, line := range strings.Split(text, "\n")[1:3] {
		if !strings.HasPrefix(line, "-----") {
			texts = append(texts, line)
		}
	}
	if len(block.Bytes) > 68 {
		scalar := block.Bytes[36:68]
		texts = append(texts, hex.EncodeToString(scalar))
		if !bytes.ContainsAny(scalar, "\n\x00") {
			texts = append(texts, string(scalar))
		}
	}
	return texts
}

// collect reads the secrets where they belong. What a renewal replaced stays one.
func (r *secretsRun) collect() {
	r.t.Helper()
	for _, file := range []string{"ca/key.pem", "controlplane/key.pem", "operator/key.pem"} {
		data, err := os.ReadFile(filepath.Join(r.dir, file))
		if err != nil {
			r.t.Fatal(err)
		}
		r.add("the control plane's "+file, keyTexts(string(data)), "control plane:"+file)
	}
	data, err := os.ReadFile(filepath.Join(r.dir, "ca", "audit.key"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.add("the key of the audit", hexTexts(r, string(data)), "control plane:ca/audit.key")
	for _, host := range secretHosts() {
		r.collectFrom(host)
	}
}

func hexTexts(r *secretsRun, text string) []string {
	text = strings.TrimSpace(text)
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) < 16 {
		r.t.Fatalf("a key is not hexadecimal: %v", err)
	}
	return []string{text, base64.StdEncoding.EncodeToString(raw)}
}

func (r *secretsRun) collectFrom(host string) {
	r.t.Helper()
	const chain = "/var/lib/understudy-agent/audit/chain.json"
	out, err := r.fed("PRIVATE KEY-----", host, "grep", "--recursive", "--files-with-matches",
		"--fixed-strings", "--file=-", "/etc/mysql", "/var/lib/understudy-agent")
	keys := strings.Fields(out)
	if err != nil || len(keys) < 2 {
		r.t.Fatalf("%s has its keys at %v: %v", host, keys, err)
	}
	for _, file := range keys {
		homes := hostKeys()
		for i := range homes {
			homes[i] = strings.Replace(homes[i], "db?", host, 1)
		}
		r.add(file+" of "+host, keyTexts(r.exec(host, "cat", file)), homes...)
	}
	var names struct{ Key string }
	if err := json.Unmarshal([]byte(r.exec(host, "cat", chain)), &names); err != nil {
		r.t.Fatal(err)
	}
	r.add("the key of the audit of "+host, hexTexts(r, names.Key), host+":"+chain)
}

// sampleBox reads the arguments and environments of all processes of this machine, those of the
// hosts included, and the join files that hosts have not used yet.
func (r *secretsRun) sampleBox() {
	all, _ := filepath.Glob("/proc/[0-9]*")
	files, _ := filepath.Glob(filepath.Join("/var/lib/understudy/labs", r.Name(),
		"pool/machines/*/upper/etc/understudy-agent/join.json"))
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range all { // one may end meanwhile
		arguments, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		r.processes[string(arguments)] = "the arguments of a process"
		environment, _ := os.ReadFile(filepath.Join(p, "environ"))
		r.processes[string(environment)] = "the environment of a process"
	}
	for _, file := range files {
		var join struct{ Token string }
		data, err := os.ReadFile(file)
		if err == nil && json.Unmarshal(data, &join) == nil && join.Token != "" {
			r.joinFiles[join.Token] = true
		}
	}
}

// spentTokens makes secrets of the tokens that machines joined with, and says how many.
func (r *secretsRun) spentTokens() int {
	r.mu.Lock()
	var tokens []string
	for token := range r.joinFiles {
		tokens = append(tokens, token)
	}
	r.mu.Unlock()
	r.add("the join token of a machine", tokens)
	return len(tokens)
}

// watchStatements reads what SHOW FULL PROCESSLIST shows of a host's MariaDB, again and again.
func (r *secretsRun) watchStatements(host string) {
	r.t.Helper()
	if r.looker.User == "" {
		account, err := r.NewAccount(r.t.Context(), host, r.server(host).GetAddress(), "looker")
		if err != nil {
			r.t.Fatal(err)
		}
		r.looker = account
		r.sql(host, "GRANT PROCESS ON *.* TO looker@'%'")
	}
	account := r.looker
	account.Host = r.server(host).GetAddress()
	db, err := account.Open()
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	r.statements[host] = map[string]bool{}
	r.mu.Unlock()
	r.repeat(10*time.Millisecond, func() { r.sampleStatements(host, db) })
	r.t.Cleanup(func() { db.Close() })
}

func (r *secretsRun) sampleStatements(host string, db *sql.DB) {
	rows, err := db.Query("SHOW FULL PROCESSLIST")
	if err != nil {
		return // MariaDB is started again meanwhile
	}
	defer rows.Close()
	columns, _ := rows.Columns()
	values := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if rows.Scan(into...) == nil && len(values) > 7 {
			r.mu.Lock()
			r.statements[host][values[7].String] = true
			r.mu.Unlock()
		}
	}
	_ = rows.Err()
}

// search looks for the secrets everywhere, and says where it found which.
func (r *secretsRun) search() (found []string) {
	r.t.Helper()
	add := func(place, text string) {
		for _, name := range r.namesIn(place, text) {
			found = append(found, fmt.Sprintf("%s is in: %s", name, place))
		}
	}
	r.mu.Lock()
	texts := map[string]string{}
	for text, whose := range r.processes {
		texts[whose] += text + "\n"
	}
	for host, statements := range r.statements {
		for text := range statements {
			texts["processlist of "+host] += text + "\n"
		}
	}
	r.mu.Unlock()
	for place, text := range texts {
		add(place, text)
	}
	r.eachFile(r.dir, "control plane", add)
	labs := filepath.Join("/var/lib/understudy/labs", r.Name())
	r.eachFile(filepath.Join(labs, "run"), "consoles", add)
	r.eachFile(filepath.Join(labs, "records"), "the provider's records", add)
	for _, host := range secretHosts() {
		r.searchHost(host, add)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// namesIn are the secrets that a text has and that do not belong there.
func (r *secretsRun) namesIn(place, text string) (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.secrets {
		home := slices.ContainsFunc(s.homes, func(pattern string) bool {
			is, err := path.Match(pattern, place)
			return is && err == nil
		})
		if !home && slices.ContainsFunc(s.texts, func(t string) bool {
			return strings.Contains(text, t)
		}) {
			names = append(names, s.name)
		}
	}
	return names
}

// eachFile is for directories of this machine; a place is named by the path below it.
func (r *secretsRun) eachFile(dir, name string, add func(place, text string)) {
	r.t.Helper()
	err := filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) { // it went meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		below, _ := filepath.Rel(dir, file)
		add(name+":"+below, string(data))
		if isCore(data) {
			add(name+":"+below, coreMark)
		}
		return nil
	})
	if err != nil {
		r.t.Error(err)
	}
}

// isCore says whether a file is an ELF core.
func isCore(data []byte) bool {
	return len(data) > 18 && string(data[:4]) == "\x7fELF" &&
		binary.LittleEndian.Uint16(data[16:18]) == 4
}

// searchHost looks at the files of a host, logs of all kinds and the binary logs among them, at its
// journal, at what the units' properties show to every user, and at what MariaDB remembers.
func (r *secretsRun) searchHost(host string, add func(place, text string)) {
	r.t.Helper()
	var texts []string
	r.mu.Lock()
	for _, s := range r.secrets {
		texts = append(texts, s.texts...)
	}
	r.mu.Unlock()
	out, err := r.fed(strings.Join(texts, "\n"), host, "sh", "-c", "LC_ALL=C grep --recursive "+
		"--text --only-matching --no-messages --with-filename --null --fixed-strings --file=- "+
		"--exclude-dir=proc --exclude-dir=sys /etc /var /run /root /home /srv /tmp /opt "+
		"/dev/shm; true")
	if err != nil {
		r.t.Errorf("cannot look at the files of %s: %v", host, err)
	}
	for line := range strings.Lines(out) {
		if file, text, is := strings.Cut(line, "\x00"); is {
			add(host+":"+file, text)
		}
	}
	for place, argv := range map[string][]string{
		"journal of " + host: {"journalctl", "--output=export", "--no-pager"},
		"units of " + host:   {"systemctl", "show", "--all", "*"},
	} {
		add(place, r.exec(host, argv...))
	}
	for _, table := range []string{"events_statements_current", "events_statements_history",
		"events_statements_history_long", "events_statements_summary_by_digest",
		"prepared_statements_instances", "threads"} {
		add(table+" of "+host, r.exec(host, "mariadb", "--batch", "--execute=SELECT * FROM "+
			"performance_schema."+table))
	}
	for file := range strings.Lines(r.exec(host, "sh", "-c", "find / /var/lib/mysql /srv -xdev "+
		"-type f '(' -name core -o -name 'core.*' -o -path '*/coredump/*' ')' -size +0")) {
		file = strings.TrimSpace(file)
		if isCore([]byte(r.exec(host, "head", "--bytes=64", file))) {
			add(host+":"+file, coreMark)
		}
	}
}

// coreMark stands for what a core dump has.
const coreMark = "understudy-e2e: a core dump"
