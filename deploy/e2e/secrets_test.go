//go:build lab

package e2e

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// TestNoSecretIsLeftBehind makes a replica, rotates its credentials, has it sign in with a password
// and leave that again, while MariaDB logs all that it can. Then it looks for every secret of the
// run wherever somebody may read, and for secrets that it plants there, so that a place at which it
// does not look is found.
func TestNoSecretIsLeftBehind(t *testing.T) {
	t.Parallel()
	l := newLab(t, "secrets")
	run := newSecretsRun(l)
	l.run("server", "create", "db1")
	run.listen("db1")
	l.run("replica", "create", "db2", "--of", "db1", "--verify", "full")
	run.listen("db2")
	run.collect()
	l.run("replica", "rotate-credentials", "db2")
	run.collect()
	run.password()
	run.tokens()
	run.operator()
	run.aborted()
	run.collect()

	l.part("no secret is found", func(l *lab, t *testing.T) {
		for _, found := range run.in(l).search() {
			t.Error(found)
		}
	})
	l.part("each place is looked at", func(l *lab, t *testing.T) { run.in(l).testPlaces() })
}

// hosts are those of the run.
func secretHosts() []string { return []string{"db1", "db2"} }

// listen has MariaDB log every statement in each of its ways.
func (r *secretsRun) listen(host string) {
	r.t.Helper()
	const file = "/etc/mysql/mariadb.conf.d/zz-listen.cnf"
	r.put(host, file, strings.Join([]string{"[mariadbd]", "performance_schema=ON",
		"performance_schema_consumer_events_statements_current=ON",
		"performance_schema_consumer_events_statements_history=ON",
		"performance_schema_consumer_events_statements_history_long=ON",
		"performance_schema_events_statements_history_long_size=20000", // of the whole run
		"general_log=ON", "general_log_file=general.log", "slow_query_log=ON",
		"slow_query_log_file=slow.log", "long_query_time=0", ""}, "\n"))
	r.exec(host, "systemctl", "restart", "mariadb.service")
	if got := r.sql(host, "SELECT @@performance_schema, @@general_log, @@slow_query_log, "+
		"@@long_query_time"); !strings.HasPrefix(got, "1\t1\t1\t0") {
		r.t.Fatalf("MariaDB of %s does not log all: %s", host, got)
	}
	r.watchStatements(host)
	restarted := time.Now()
	awaitTrue(r.t, time.Minute, host+" is READY", func() bool {
		s := r.server(host) // what is heard first may have been sampled while MariaDB was starting
		return s.GetState() == cpv1.Server_STATE_READY &&
			s.GetLastSeenTime().AsTime().After(restarted.Add(3*time.Second))
	})
}

// password has db2 sign in with a password, as replicas of earlier versions do, then with its
// certificate again.
func (r *secretsRun) password() {
	r.t.Helper()
	password := rand.Text()
	// while the statement runs, as docs/credentials.md says: CHANGE MASTER takes no parameter
	r.add("the password of db2", []string{password}, "processlist of db2")
	_, err := r.agent("db1").EnsureReplicationAccount(r.t.Context(),
		&agentv1.EnsureReplicationAccountRequest{User: "us_db2", Host: r.server("db2").GetAddress(),
			Password: password})
	if err != nil {
		r.t.Fatal(err)
	}
	replica := r.agent("db2")
	if _, err := replica.ConfigureReplica(r.t.Context(), &agentv1.ConfigureReplicaRequest{
		PrimaryHost: r.server("db1").GetAddress(), User: "us_db2", Password: password, Tls: true,
		Force: true}); err != nil {
		r.t.Fatal(err)
	}
	if _, err := replica.StartReplication(r.t.Context(),
		&agentv1.StartReplicationRequest{}); err != nil {
		r.t.Fatal(err)
	}
	awaitTrue(r.t, time.Minute, "db2 signs in with its password", func() bool {
		status := r.exec("db2", "mariadb", "--execute=SHOW REPLICA STATUS\\G")
		return strings.Contains(status, "Slave_IO_Running: Yes") &&
			strings.Contains(status, "Master_SSL_Cert: \n")
	})
	if kept := r.exec("db2", "cat", "/var/lib/mysql/master.info"); !strings.Contains(kept,
		password) {
		r.t.Errorf("MariaDB has no password:\n%s", kept)
	}
	r.run("replica", "rotate-credentials", "db2")
}

// agent is MariaDB's service on a host, as the control plane calls it.
func (r *secretsRun) agent(host string) agentv1.MariaDBServiceClient {
	r.t.Helper()
	dir := filepath.Join(r.dir, "controlplane")
	source, err := identity.NewFiles(identity.FilesConfig{CA: filepath.Join(dir, "ca.pem"),
		Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")})
	if err != nil {
		r.t.Fatal(err)
	}
	conn, err := chassis.Dial(chassis.DialConfig{Address: r.server(host).GetAddress() + ":7443",
		TLS: identity.ClientConfig{Source: source, Expect: identity.Agent(host)}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return agentv1.NewMariaDBServiceClient(conn)
}

// tokens makes a join token and has a host try it that is another server's; those of db1 and db2
// were spent.
func (r *secretsRun) tokens() {
	r.t.Helper()
	file, err := r.CLI(r.t.Context(), "token", "create", "db7", "--out", "-").Output()
	var join identity.JoinFile
	if err == nil {
		err = json.Unmarshal(file, &join)
	}
	if err != nil || join.Token == "" {
		r.t.Fatal(join, err)
	}
	r.add("the join token of db7", []string{join.Token})
	if out, err := r.fed(string(file), "db2", "understudy-agent", "join", "--join-file",
		"-"); err == nil {
		r.t.Errorf("db2 joined as db7:\n%s", out)
	}
	if n := r.spentTokens(); n != len(secretHosts()) {
		r.t.Errorf("%d join files of machines were seen, not %d", n, len(secretHosts()))
	}
}

// operator makes one, whose key is in the file that the command wrote.
func (r *secretsRun) operator() {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "alice.json")
	r.run("operator", "create", "alice", "--out", path)
	data, err := os.ReadFile(path)
	var made struct {
		Key string `json:"key_pem"`
	}
	if err == nil {
		err = json.Unmarshal(data, &made)
	}
	if err != nil || made.Key == "" {
		r.t.Fatal("no key of alice: ", err)
	}
	r.add("the key of alice", keyTexts(made.Key))
	r.run("operator", "revoke", "alice", "--reason", "the key was stolen")
}

// aborted ends the programs by a signal that dumps their memory where it may.
func (r *secretsRun) aborted() {
	r.t.Helper()
	const unit = "understudy-agent.service"
	pid := func() string { return r.exec("db2", "systemctl", "show", "-P", "MainPID", unit) }
	before := pid()
	r.exec("db2", "systemctl", "kill", "--kill-whom=main", "--signal=ABRT", unit)
	awaitTrue(r.t, time.Minute, "the agent of db2 runs again", func() bool {
		now := pid()
		return now != before && now != "0"
	})
	if err := syscall.Kill(r.PID(), syscall.SIGABRT); err != nil {
		r.t.Fatal(err)
	}
	<-r.Exited()
	r.start()
	awaitTrue(r.t, time.Minute, "db2 is READY", func() bool {
		return r.server("db2").GetState() == cpv1.Server_STATE_READY
	})
}

// put writes a file on a host; its content is in no argument list.
func (r *secretsRun) put(host, path, content string) {
	r.t.Helper()
	if out, err := r.fed(content, host, "tee", path); err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
}
