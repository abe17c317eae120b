package mariadb

import (
	"context"
	"crypto/sha1" //nolint:gosec // what MariaDB's plugin takes
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// Account is the account that one replica connects with, over TLS.
type Account struct {
	User, Host string
	// MariaDB is who signs in, with its certificate and no password. Without one the account has
	// the Password.
	identity.MariaDB
	Password string
	// KeepOthers leaves accounts of the user for other hosts: the replica may need one of them
	// until it has signed in with this one.
	KeepOthers bool
	// EndSessions ends the sessions of the user, which outlive what they signed in with.
	EndSessions bool
}

// name is the account as SQL takes it.
func (a Account) name() string { return literal(a.User) + "@" + literal(a.Host) }

// nativeHash is what mysql_native_password keeps of a password. The agent hashes it itself, so that
// neither a log nor the binary log of MariaDB ever sees it.
func nativeHash(password string) string {
	once := sha1.Sum([]byte(password)) //nolint:gosec // see the import
	twice := sha1.Sum(once[:])         //nolint:gosec // see the import
	return "*" + strings.ToUpper(hex.EncodeToString(twice[:]))
}

// hash is what MariaDB keeps of the password; empty for none.
func (a Account) hash() string {
	if a.Server != "" {
		return ""
	}
	return nativeHash(a.Password)
}

// demand is what MariaDB wants to see of whoever signs in, beside the password.
type demand struct{ subject, issuer string }

// demanded is a certificate of the fleet's CA for an account without a password, and TLS alone for
// one with.
func (s *Server) demanded(account Account) (d demand, err error) {
	if account.Server == "" {
		return d, nil
	}
	if d.subject, err = identity.OneLine(account.Subject()); err != nil {
		return d, err
	}
	// That of the root is another one where an intermediate signs. All that sign have one name.
	own, err := readCertificate(s.tls.Cert)
	if err != nil {
		return d, err
	}
	d.issuer, err = identity.OneLine(own.Issuer)
	return d, err
}

// kind is the number that MariaDB keeps for it.
func (d demand) kind() int64 {
	if d.subject == "" {
		return 1 // SSL
	}
	return 3 // SUBJECT, ISSUER
}

func (d demand) sql() string {
	if d.subject == "" {
		return "SSL"
	}
	return "SUBJECT " + literal(d.subject) + " AND ISSUER " + literal(d.issuer)
}

// accountFacts is what an account is like now.
type accountFacts struct {
	exists, tls, usable, privileges, password bool
	elsewhere                                 []string // hosts of others of that user
}

// EnsureAccount makes the account, with REPLICATION SLAVE alone. It drops those that the user has
// for other hosts, and ends sessions, as the account says. It says what it changed.
func (s *Server) EnsureAccount(ctx context.Context, account Account) (changes []string, err error) {
	what := fmt.Sprintf("cannot make the replication account %s@%s", account.User, account.Host)
	err = s.change(ctx, what, func() error {
		demand, err := s.demanded(account)
		if err != nil {
			return err
		}
		facts, err := readAccount(ctx, s.db, account, demand)
		if err != nil {
			return err
		}
		changes, err = s.changeAccount(ctx, account, demand, facts)
		return withoutSecret(err, account.Password)
	})
	return changes, err
}

func readAccount(ctx context.Context, q querier, account Account,
	demand demand) (facts accountFacts, err error) {
	if facts.elsewhere, err = otherHosts(ctx, q, account); err != nil {
		return facts, err
	}
	r, err := one(ctx, q, "SELECT JSON_VALUE(Priv, '$.plugin') AS plugin,"+
		" COALESCE(JSON_VALUE(Priv, '$.authentication_string'), '') AS hash,"+
		" COALESCE(JSON_VALUE(Priv, '$.ssl_type'), 0) AS tls,"+
		" COALESCE(JSON_VALUE(Priv, '$.x509_subject'), '') AS subject,"+
		" COALESCE(JSON_VALUE(Priv, '$.x509_issuer'), '') AS issuer,"+
		" COALESCE(JSON_VALUE(Priv, '$.ssl_cipher'), '') AS cipher,"+
		" COALESCE(JSON_VALUE(Priv, '$.account_locked'), 'false') AS locked,"+
		" JSON_VALUE(Priv, '$.password_last_changed') AS changed,"+
		" JSON_EXISTS(Priv, '$.auth_or') AS alternatives"+
		" FROM mysql.global_priv WHERE User = ? AND Host = ?", account.User, account.Host)
	if err != nil || len(r) == 0 {
		return facts, err
	}
	facts.exists = true
	facts.tls = r.number("tls") == demand.kind() && r["subject"] == demand.subject &&
		r["issuer"] == demand.issuer && r["cipher"] == ""
	facts.usable = r["locked"] != "true" && r["locked"] != "1" && r["changed"] != "0" &&
		r.number("alternatives") == 0
	facts.password = r["plugin"] == "mysql_native_password" && r["hash"] == account.hash()
	facts.privileges, err = onlyReplicates(ctx, q, account)
	return facts, err
}

// otherHosts are those that the user has accounts for beside this one. A role has no host.
func otherHosts(ctx context.Context, q querier, account Account) (hosts []string, err error) {
	rows, err := query(ctx, q, "SELECT Host AS host FROM mysql.global_priv WHERE User = ? AND "+
		"Host <> ? AND Host <> ''", account.User, account.Host)
	for _, r := range rows {
		hosts = append(hosts, r["host"])
	}
	return hosts, err
}

// onlyReplicates is true when the account has REPLICATION SLAVE and nothing else, anywhere.
func onlyReplicates(ctx context.Context, q querier, account Account) (bool, error) {
	rows, err := query(ctx, q, "SHOW GRANTS FOR "+account.name())
	if err != nil {
		return false, err
	}
	return len(rows) == 1 && strings.HasPrefix(first(rows[0]),
		"GRANT REPLICATION SLAVE ON *.* TO ") &&
		!strings.Contains(first(rows[0]), "WITH GRANT OPTION"), nil
}

// first is the value of a row of one column, whose name says who it is about.
func first(r row) string {
	for _, value := range r {
		return value
	}
	return ""
}

func (s *Server) changeAccount(ctx context.Context, account Account, demand demand,
	facts accountFacts) ([]string, error) {
	var changes []string
	do := func(change, statement string) error {
		if err := s.unlogged(ctx, statement); err != nil {
			return err
		}
		changes = append(changes, change)
		return nil
	}
	if !facts.exists || !facts.password || !facts.tls || !facts.usable {
		if err := do(spoken(account, facts),
			definition(account, demand, facts)); err != nil {
			return changes, err
		}
	}
	if facts.exists && !facts.privileges {
		if err := execute(ctx, s.db, "REVOKE ALL PRIVILEGES, GRANT OPTION FROM "+
			account.name()); err != nil {
			return changes, err
		}
	}
	if !facts.privileges {
		if err := do("granted", "GRANT REPLICATION SLAVE ON *.* TO "+account.name()); err != nil {
			return changes, err
		}
	}
	// Last: the replica may sign in as one of them until the new one is whole.
	for _, host := range facts.elsewhere {
		if account.KeepOthers {
			break
		}
		if err := do("dropped for "+host, dropAccount(account.User, host)); err != nil {
			return changes, err
		}
	}
	if account.EndSessions {
		return changes, s.endSessions(ctx, account.User)
	}
	return changes, nil
}

// endSessions ends those of the user. One that has an account comes again.
func (s *Server) endSessions(ctx context.Context, user string) error {
	return execute(ctx, s.db, "KILL CONNECTION USER "+literal(user))
}

func dropAccount(user, host string) string {
	return "DROP USER IF EXISTS " + Account{User: user, Host: host}.name()
}

func spoken(account Account, facts accountFacts) string {
	switch {
	case !facts.exists:
		return "created"
	case account.Server != "" && (!facts.password || !facts.tls):
		return "demands the certificate of " + account.Server
	case !facts.password:
		return "password set"
	default:
		return "made usable again"
	}
}

// definition creates or repairs the account in one statement, so that it always requires TLS.
func definition(account Account, demand demand, facts accountFacts) string {
	verb := "CREATE USER "
	if facts.exists {
		verb = "ALTER USER "
	}
	return verb + account.name() + " IDENTIFIED VIA mysql_native_password USING " +
		literal(account.hash()) + " REQUIRE " + demand.sql() +
		" PASSWORD EXPIRE NEVER ACCOUNT UNLOCK"
}

// anyHost is the host of an account that may connect from anywhere.
const anyHost = "%"

// DeleteAccount drops the account, for anyHost those of the user for every host, and says whether
// there was one. It ends the sessions of the user, which outlive the account: a replica would go on
// to read what is written. One that has another account comes again.
func (s *Server) DeleteAccount(ctx context.Context, user, host string) (found bool, err error) {
	what := fmt.Sprintf("cannot delete the replication account %s@%s", user, host)
	err = s.change(ctx, what, func() error {
		rows, err := query(ctx, s.db, "SELECT Host AS host FROM mysql.global_priv WHERE "+
			"User = ? AND Host <> '' AND ? IN (Host, ?)", user, host, anyHost)
		if err != nil {
			return err
		}
		found = len(rows) > 0
		for _, r := range rows {
			if err := execute(ctx, s.db, dropAccount(user, r["host"])); err != nil {
				return err
			}
		}
		// Also when none is left: an earlier call may have come to the accounts alone.
		return s.endSessions(ctx, user)
	})
	return found, err
}
