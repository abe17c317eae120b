//go:build lab

package faults

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// accountRows are about the account that a replica connects with.
func accountRows() []row {
	return []row{
		{
			id: "R5", variant: "account dropped", quick: true,
			run: func(l *lab) { l.badAccount("DROP USER `%s`") },
			planted: "the replica's account is dropped on the primary, and the replica has to " +
				"connect anew",
			happens: "start_replica makes it again; converges",
			why:     "1045 is mended on both sides",
		},
		{
			id: "R5", variant: "password changed",
			run:     func(l *lab) { l.badAccount("ALTER USER `%s` IDENTIFIED BY 'another'") },
			planted: "the account has another password",
			happens: "start_replica takes it away, and demands the certificate; converges",
			why:     "the account is Understudy's own, made usable again whatever was done to it",
		},
		{
			id: "R5", variant: "password expired",
			run:     func(l *lab) { l.badAccount("ALTER USER `%s` PASSWORD EXPIRE") },
			planted: "the account's password has expired",
			happens: "start_replica makes it usable again; converges",
			why:     "the same",
		},
		{
			id: "R5", variant: "account locked",
			run:     func(l *lab) { l.badAccount("ALTER USER `%s` ACCOUNT LOCK") },
			planted: "the account is locked",
			happens: "start_replica unlocks it; converges",
			why:     "the same",
		},
		{
			id: "R5", variant: "privilege taken away",
			run:     func(l *lab) { l.badAccount("REVOKE ALL PRIVILEGES, GRANT OPTION FROM `%s`") },
			planted: "the account has lost REPLICATION SLAVE",
			happens: "start_replica grants it again; converges",
			why:     "the same",
		},
		{
			id: "R5", variant: "replica without TLS", run: (*lab).withoutTLS,
			planted: "the replica connects without TLS, which the account demands",
			happens: "start_replica sets the connection up with TLS again; converges",
			why:     "1045 is mended on both sides",
		},
		{
			id: "R5", variant: "account without REQUIRE", run: (*lab).notRequired,
			planted: "the account on the primary demands no certificate when the replica is " +
				"configured",
			happens: "configure_replica makes it demand the replica's; converges",
			why:     "the account's every property is looked at, not only that it is there",
		},
		{
			id: "R5", variant: "credentials rotated", run: (*lab).rotated,
			planted: "a replica's credentials are rotated while it replicates",
			happens: "it has another certificate, and its IO thread alone signs in again; the " +
				"SQL thread goes on",
			why: "a certificate that may be known to somebody has to go without a gap",
		},
		{
			id: "R5", variant: "moved from a password", run: (*lab).moved,
			planted: "the replica signs in with a password, as those of earlier versions do; " +
				"its credentials are rotated",
			happens: "the account demands the certificate, and master.info has no password",
			why:     "what need not be kept cannot be stolen",
		},
	}
}

var ioError = regexp.MustCompile(`Last_IO_Errno: [1-9]`)

// badAccount spoils the standing replica's account and makes it connect anew.
func (l *lab) badAccount(statement string) {
	name := l.stand()
	l.sql(primary, fmt.Sprintf(statement, l.account(name)))
	l.sql(name, "STOP REPLICA IO_THREAD; START REPLICA IO_THREAD")
	l.mendsAccount(name)
}

// mendsAccount waits until the primary refuses the replica, and has start_replica mend that.
func (l *lab) mendsAccount(name string) {
	l.t.Helper()
	l.eventually(2*time.Minute, "the primary refuses the account",
		func() bool { return ioError.MatchString(l.replicaStatus(name)) })
	l.again("start_replica")
	l.whole(name)
	l.demandsTLS(name)
}

// account is the replica's on its primary, between the quotes of a statement.
func (l *lab) account(name string) string {
	l.t.Helper()
	return "us_" + name + "`@`" + l.recorded(name).Address
}

// demandsTLS expects an account that may replicate with the replica's certificate and do nothing
// else, and a replica that uses TLS.
func (l *lab) demandsTLS(name string) {
	l.t.Helper()
	if grants := l.sql(primary,
		fmt.Sprintf("SHOW GRANTS FOR `%s`", l.account(name))); !strings.HasPrefix(grants,
		"GRANT REPLICATION SLAVE ON *.* TO") || strings.Contains(grants, "PASSWORD") ||
		!regexp.MustCompile("SUBJECT '/OU=mariadb-[0-9a-f]{16}/CN="+name+"'").MatchString(grants) ||
		strings.Contains(grants, "\n") {
		l.t.Errorf("the account of %s may: %s", name, grants)
	}
	if status := l.replicaStatus(name); !strings.Contains(status, "Master_SSL_Allowed: Yes") {
		l.t.Errorf("%s does not use TLS: %s", name, status)
	}
}

func (l *lab) withoutTLS() {
	name := l.stand()
	l.sql(name, "STOP REPLICA; CHANGE MASTER TO MASTER_SSL = 0, MASTER_SSL_VERIFY_SERVER_CERT = "+
		"0; START REPLICA")
	l.mendsAccount(name)
}

func (l *lab) notRequired() {
	m := l.makeUntil("before_effect:configure_replica")
	l.sql(primary, fmt.Sprintf("ALTER USER `%s` REQUIRE NONE", l.account(m.name)))
	l.goesOn(m)
	l.demandsTLS(m.name)
}

// installed is the certificate that a host's MariaDB has.
func (l *lab) installed(name string) string {
	l.t.Helper()
	return l.exec(name, "cat", "/etc/mysql/understudy/cert.pem")
}

func (l *lab) rotated() {
	name := l.stand()
	thread := func() string {
		return l.sql(name, "SELECT GROUP_CONCAT(id) FROM information_schema.processlist WHERE "+
			"command = 'Slave_SQL'")
	}
	before, sqlThread := l.installed(name), thread()
	l.run("replica", "rotate-credentials", name)
	if l.installed(name) == before {
		l.t.Errorf("%s has the certificate of before", name)
	}
	if now := thread(); now != sqlThread || now == "" {
		l.t.Errorf("the SQL thread %q of %s is %q now", sqlThread, name, now)
	}
	l.signsIn(name)
}

func (l *lab) moved() {
	name := l.stand()
	l.sql(primary, fmt.Sprintf("ALTER USER `%s` IDENTIFIED BY 'made-by-hand' REQUIRE SSL",
		l.account(name)))
	l.sql(name, "STOP REPLICA; CHANGE MASTER TO MASTER_PASSWORD = 'made-by-hand', "+
		"MASTER_SSL_CERT = '', MASTER_SSL_KEY = ''; START REPLICA")
	l.replicates(name)
	l.run("replica", "rotate-credentials", name)
	l.signsIn(name)
}

// signsIn expects a replica that replicates with its certificate, and has no password.
func (l *lab) signsIn(name string) {
	l.t.Helper()
	l.whole(name)
	l.demandsTLS(name)
	if status := l.replicaStatus(name); !strings.Contains(status,
		"Master_SSL_Cert: /etc/mysql/understudy/cert.pem") {
		l.t.Errorf("%s shows no certificate: %s", name, status)
	}
	if info := strings.Split(l.exec(name, "cat", "/var/lib/mysql/master.info"),
		"\n"); len(info) < 6 || info[5] != "" {
		l.t.Errorf("master.info of %s has a password", name)
	}
}
