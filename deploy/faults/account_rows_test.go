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
			why:     "1045 is mended by giving both sides a new password",
		},
		{
			id: "R5", variant: "password changed",
			run:     func(l *lab) { l.badAccount("ALTER USER `%s` IDENTIFIED BY 'another'") },
			planted: "the account has another password",
			happens: "start_replica gives both sides a new one; converges",
			why:     "nobody keeps the password, so it is made anew",
		},
		{
			id: "R5", variant: "password expired",
			run:     func(l *lab) { l.badAccount("ALTER USER `%s` PASSWORD EXPIRE") },
			planted: "the account's password has expired",
			happens: "start_replica gives both sides a new one; converges",
			why:     "the same",
		},
		{
			id: "R5", variant: "account locked",
			run:     func(l *lab) { l.badAccount("ALTER USER `%s` ACCOUNT LOCK") },
			planted: "the account is locked",
			happens: "start_replica unlocks it; converges",
			why:     "the account is Understudy's own, made usable again whatever was done to it",
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
			id: "R5", variant: "account without REQUIRE SSL", run: (*lab).notRequired,
			planted: "the account on the primary does not demand TLS when the replica is " +
				"configured",
			happens: "configure_replica makes it demand TLS; converges",
			why:     "the account's every property is looked at, not only that it is there",
		},
	}
}

var ioError = regexp.MustCompile(`Last_IO_Errno: [1-9]`)

// badAccount spoils the standing replica's account and makes it connect anew.
func (l *lab) badAccount(statement string) {
	name := l.stand()
	l.sql(primary, fmt.Sprintf(statement, "us_"+name))
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

// demandsTLS expects an account that may replicate over TLS and do nothing else, and a replica that
// uses TLS.
func (l *lab) demandsTLS(name string) {
	l.t.Helper()
	if grants := l.sql(primary,
		fmt.Sprintf("SHOW GRANTS FOR `us_%s`", name)); !strings.HasPrefix(grants,
		"GRANT REPLICATION SLAVE ON *.* TO") || !strings.Contains(grants, "REQUIRE SSL") ||
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
	l.sql(primary, fmt.Sprintf("ALTER USER `us_%s` REQUIRE NONE", m.name))
	l.goesOn(m)
	l.demandsTLS(m.name)
}
